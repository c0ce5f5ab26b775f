"""Between a campaign and a procedure: what fits, and the way there and back."""

import sys
import timeit
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from renkei.errors import ConfigError
from renkei.model.binding import Binding, check_against
from renkei.model.campaign import Campaign, Source
from renkei.model.pool import PoolReference
from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.space import Choice, Constraint, Integer, Objective, Parameter, Point, Real, Space, Value

SPEC = ProcedureSpec(
    name="fusion.coil",
    version="1.0",
    summary="",
    parameters=(
        Real("current", 1000.0, 20000.0, "A"),
        Real("gap", 0.0, 1.0),
        Integer("periods", 2, 5),
        Choice("blanket", ("HCPB", "WCLL")),
        Integer("length", 1, 5000, "mm"),
    ),
    outputs=(Output("error"), Output("heat", "degC"), Output("n", "1", "integer"), Output("field", "1", "file")),
    defaults={"gap": 1, "periods": 3, "blanket": "HCPB", "length": 10},
)
CURRENT = Real("current", 1.0, 20.0, "kA")


def campaign(
    *parameters: Parameter,
    pool: tuple[Point, ...] | None = None,
    objectives: tuple[Objective, ...] = (Objective("error"),),
    constraints: tuple[Constraint, ...] = (),
    **source: Any,
) -> Campaign:
    return Campaign(
        name="c",
        space=Space(parameters, pool),
        objectives=objectives,
        constraints=constraints,
        sources=(Source(procedure="fusion.coil", **source),),
    )


def misfits(what: Campaign, spec: ProcedureSpec = SPEC) -> list[str]:
    return check_against(what, {spec.name: spec})


def bind(what: Campaign) -> Binding:
    return Binding(what, what.sources[0], SPEC)


def test_a_campaign_that_fits_has_no_misfits() -> None:
    what = campaign(
        CURRENT,
        Integer("periods", 2, 5),
        Choice("blanket", ("WCLL", "HCPB")),
        objectives=(Objective("heat", unit="K"),),
        constraints=(Constraint("error", upper=1.0),),
        fixed={"gap": 0.5},
        version="1.0",
    )
    assert misfits(what) == []


def test_a_procedure_that_nobody_offers_is_named_with_the_one_that_was_meant() -> None:
    what = replace(campaign(CURRENT), sources=(Source(procedure="fusion.coill"), Source(procedure="x")))
    assert misfits(what) == [
        "source#1.procedure: found 'fusion.coill', expected one that a site offers. Did you mean 'fusion.coil'?",
        "source#2.procedure: found 'x', expected one that a site offers.",
    ]


def test_another_version_is_a_misfit() -> None:
    assert misfits(campaign(CURRENT, version="2.0")) == [
        "source#1.version: found '2.0', expected '1.0', the version on offer"
    ]


def test_all_misfits_of_parameters_and_outputs_are_reported_at_once() -> None:
    what = campaign(
        Real("curent", 1.0, 2.0),
        Real("gap", 0.0, 1.0, "m"),
        Integer("periods", 1, 6),
        Choice("blanket", ("HCPB", "DCLL", "X")),
        Integer("long", 1, 2, "km"),
        objectives=(Objective("eror"), Objective("heat", unit="m"), Objective("field")),
        constraints=(Constraint("zzz", upper=1.0), Constraint("heat", upper=1.0, unit="s")),
        rename={"long": "lenght"},
        fixed={"blanket": "WCLL", "periodz": 1, "periods": 2.5},
    )
    assert misfits(what) == [
        "space.curent: found 'curent', expected a parameter of fusion.coil. Did you mean 'current'?",
        "space.gap.unit: found 'm', expected one that fits 'gap' of fusion.coil. Unit 'm' does not convert to '1'.",
        "space.periods: found 'periods' of fusion.coil, which is fixed by the source, expected one value for it",
        "space.periods: found 1, expected a value that fusion.coil takes: periods: 1 is outside [2, 5]",
        "space.periods: found 6, expected a value that fusion.coil takes: periods: 6 is outside [2, 5]",
        "space.blanket: found 'blanket' of fusion.coil, which is fixed by the source, expected one value for it",
        "space.blanket: found 'DCLL', expected a value that fusion.coil takes: blanket: found 'DCLL', expected one of"
        " 'HCPB', 'WCLL'",
        "space.blanket: found 'X', expected a value that fusion.coil takes: blanket: found 'X', expected one of"
        " 'HCPB', 'WCLL'",
        "space.long: found 'lenght', expected a parameter of fusion.coil. Did you mean 'length'?",
        "source#1.fixed.periodz: found 'periodz', expected a parameter of fusion.coil. Did you mean 'periods'?",
        "source#1.fixed.periods: found 2.5, expected a value that fusion.coil takes: periods: found 2.5, expected a"
        " whole number",
        "source#1: found no 'current', which fusion.coil needs, expected it in [space] or in fixed (1000.0 to"
        " 20000.0 A)",
        "objective#1.output: found 'eror', expected an output of fusion.coil. Did you mean 'error'?",
        "objective#2.unit: found 'm', expected one that fits 'heat' of fusion.coil. Unit 'degC' does not convert to"
        " 'm'.",
        "objective#3.output: found 'field', expected an output of fusion.coil. It has error, heat, n.",
        "constraint#1.output: found 'zzz', expected an output of fusion.coil. It has error, heat, n.",
        "constraint#2.unit: found 's', expected one that fits 'heat' of fusion.coil. Unit 'degC' does not convert to"
        " 's'.",
    ]


def test_bounds_are_compared_in_the_units_of_the_procedure() -> None:
    assert misfits(campaign(Real("current", 0.5, 20.0, "kA"))) == [
        "space.current: found 0.5 kA, expected a value that fusion.coil takes: current: 500.0 is outside"
        " [1000.0, 20000.0] A"
    ]


def test_a_name_that_is_no_parameter_cannot_be_renamed() -> None:
    assert misfits(campaign(CURRENT, rename={"curent": "gap"})) == [
        "source#1.rename.curent: found an unknown parameter, expected current. Did you mean 'current'?"
    ]


def test_two_parameters_may_not_become_one() -> None:
    what = campaign(CURRENT, Real("other", 1.0, 2.0, "kA"), rename={"other": "current"})
    assert misfits(what) == [
        "space.other: found 'current' of fusion.coil, which 'current' is, too, expected one value for it"
    ]


def test_a_missing_choice_is_described_by_its_values() -> None:
    spec = replace(SPEC, defaults={"gap": 1, "periods": 3, "length": 10})
    assert misfits(campaign(CURRENT), spec) == [
        "source#1: found no 'blanket', which fusion.coil needs, expected it in [space] or in fixed (one of 'HCPB',"
        " 'WCLL')"
    ]


@pytest.mark.parametrize(("name", "kind"), [("periods", "integer"), ("blanket", "choice")])
def test_a_real_parameter_is_neither_whole_nor_a_choice(name: str, kind: str) -> None:
    assert misfits(campaign(CURRENT, Real(name, 2.0, 3.0))) == [
        f"space.{name}.type: found 'real', expected '{kind}', as '{name}' of fusion.coil is"
    ]


def test_whole_numbers_must_stay_whole() -> None:
    assert misfits(campaign(CURRENT, Integer("length", 1, 5, "m"))) == []
    assert misfits(campaign(CURRENT, Integer("length", 1000, 2000, "um"))) == [
        "space.length.unit: found 'um', expected one that fits 'length' of fusion.coil. Whole numbers of 'um' are not"
        " whole numbers of 'mm'."
    ]


def test_an_integer_may_stand_for_a_choice_of_numbers() -> None:
    spec = replace(SPEC, parameters=(*SPEC.parameters, Choice("distance", (3, 4, 7))))
    what = campaign(CURRENT, Integer("distance", 3, 5))
    assert misfits(replace(what, space=Space((CURRENT, Integer("distance", 3, 4)))), spec) == []
    assert misfits(what, spec) == [
        "space.distance: found 5, expected a value that fusion.coil takes: distance: found 5, expected one of 3, 4, 7"
    ]


def test_of_a_pool_only_its_own_values_must_be_choices_of_the_procedure() -> None:
    spec = replace(SPEC, parameters=(*SPEC.parameters, Choice("distance", (3, 7))))
    fits: tuple[Point, ...] = ({"current": 1.0, "distance": 3}, {"current": 20.0, "distance": 7})
    assert misfits(campaign(CURRENT, Integer("distance", 3, 7), pool=fits), spec) == []
    other: tuple[Point, ...] = (*fits, {"current": 2.0, "distance": 5})
    assert misfits(campaign(CURRENT, Integer("distance", 3, 7), pool=other), spec) == [
        "space.distance: found 5, expected a value that fusion.coil takes: distance: found 5, expected one of 3, 7"
    ]


def test_numbers_to_choose_from_may_stand_for_a_real_parameter() -> None:
    what = campaign(Choice("current", (1000, 2000.5, 30000.0, True)))
    assert misfits(what) == [
        "space.current: found 30000.0, expected a value that fusion.coil takes: current: 30000.0 is outside"
        " [1000.0, 20000.0] A",
        "space.current: found true, expected a value that fusion.coil takes: current: found True, expected a number",
    ]
    point = bind(campaign(Choice("current", (1000, 2000.5)))).to_procedure({"current": 1000})
    assert point["current"] == 1000.0
    assert type(point["current"]) is float


def test_a_campaign_that_is_not_resolved_fits_nothing() -> None:
    what = replace(campaign(), pool=PoolReference("python:a:b"))
    assert misfits(what) == ["space.pool: found a pool that is not resolved, expected its points"]


def test_what_does_not_fit_cannot_be_bound() -> None:
    with pytest.raises(ConfigError, match=r"Campaign 'c' has 1 mistake:\n  - space.current: found 0\.5 kA"):
        bind(campaign(Real("current", 0.5, 20.0, "kA")))


def test_a_point_is_renamed_converted_and_completed_in_the_procedure_s_order() -> None:
    what = campaign(
        Choice("cover", ("WCLL", "HCPB")), CURRENT, rename={"cover": "blanket"}, fixed={"periods": 5, "length": 7}
    )
    point = bind(what).to_procedure({"cover": "WCLL", "current": 12.5})
    assert list(point.items()) == [
        ("current", 12500.0), ("gap", 1.0), ("periods", 5), ("blanket", "WCLL"), ("length", 7),
    ]  # fmt: skip
    assert type(point["gap"]) is float


def test_a_parameter_without_a_value_and_without_a_default_is_not_there() -> None:
    spec = ProcedureSpec("fusion.coil", "1", "", (CURRENT,), (Output("error"),))
    what = campaign(CURRENT)
    assert Binding(what, what.sources[0], spec).to_procedure({"current": 2.0}) == {"current": 2.0}


def converted(parameter: Parameter, value: Value) -> Value:
    what = campaign(parameter) if parameter.name == "current" else campaign(CURRENT, parameter)
    return bind(what).to_procedure({"current": 2.0} | {parameter.name: value})[parameter.name]


def test_whole_numbers_stay_whole() -> None:
    for parameter, value, expected in (
        (Integer("periods", 2, 5), 4, 4),
        (Integer("length", 1, 5, "m"), 3, 3000),
    ):
        found = converted(parameter, value)
        assert found == expected
        assert type(found) is int


def test_whole_numbers_of_the_campaign_become_numbers_of_a_real_parameter() -> None:
    found = converted(Integer("current", 1, 20, "kA"), 3)
    assert found == 3000.0
    assert type(found) is float


def test_the_same_unit_keeps_a_value_exactly() -> None:
    assert converted(Real("gap", 0.0, 1.0), 0.1 + 0.2) == 0.1 + 0.2


def test_dust_outside_a_bound_is_the_bound_and_more_is_not() -> None:
    gap = Real("gap", 0.0, 1.0)
    assert converted(gap, 1.0 + 1e-12) == 1.0
    assert converted(gap, -1e-12) == 0.0
    assert converted(gap, 1.1) == 1.1
    assert converted(gap, -0.1) == -0.1
    assert converted(CURRENT, 20.000000000000004) == 20000.0
    assert converted(CURRENT, 0.9999999999999999) == 1000.0


def test_outputs_come_back_in_the_units_of_the_campaign() -> None:
    what = campaign(
        CURRENT,
        objectives=(Objective("heat", unit="K"), Objective("error")),
        constraints=(Constraint("n", upper=50.0, unit="percent"),),
    )
    binding = bind(what)
    outputs: Mapping[str, float] = {"heat": 20.0, "error": 0.1, "n": 0.25, "other": 3.0}
    assert binding.to_campaign(outputs) == {"heat": 293.15, "error": 0.1, "n": 25.0, "other": 3.0}
    assert outputs["heat"] == 20.0
    assert binding.to_campaign({"error": 0.1}) == {"error": 0.1}


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer, such as that of coverage, takes most of the time")
def test_both_ways_take_less_than_three_microseconds() -> None:
    what = campaign(CURRENT, Real("gap", 0.0, 1.0), objectives=(Objective("heat", unit="K"), Objective("error")))
    binding = bind(what)
    point: Point = {"current": 3.0, "gap": 0.5}
    outputs = {"heat": 20.0, "error": 0.1}
    n = 20_000
    for call in (lambda: binding.to_procedure(point), lambda: binding.to_campaign(outputs)):
        assert min(timeit.repeat(call, number=n, repeat=5)) / n < 3e-6
