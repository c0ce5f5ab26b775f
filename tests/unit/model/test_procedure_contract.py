"""Procedures: an ordinary function's signature is the contract."""

import math
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest
from annotated_types import Ge, Gt, Interval, Le

from renkei.errors import UsageError
from renkei.model.procedure import (
    NAME,
    Output,
    ProcedureSpec,
    RunContext,
    Unit,
    current_run,
    enter_run,
    outputs_of,
    procedure,
    procedure_of,
)
from renkei.model.space import Choice, Integer, Real


@dataclass
class Beam:
    sigma: Annotated[float, Unit("um")]
    turns: int
    image: Path


@procedure("accelerator.focus", version="1.2", kind="measurement", infeasible_on=(ZeroDivisionError,))
def focus(
    k1: Annotated[float, Interval(ge=-30, le=30), Unit("1/m**2")],
    steps: Annotated[int, Ge(0.5), Le(7.5)] = 3,
    optics: Literal["doublet", "triplet"] = "doublet",
    cooled: bool = False,
) -> Beam:
    """Focus the beam with one quadrupole.

    More text.
    """
    return Beam(1 / k1, steps, Path("image.png"))


FOCUS = ProcedureSpec(
    name="accelerator.focus",
    version="1.2",
    summary="Focus the beam with one quadrupole.",
    parameters=(
        Real("k1", -30.0, 30.0, "1/m**2"),
        Integer("steps", 1, 7),
        Choice("optics", ("doublet", "triplet")),
        Choice("cooled", (False, True)),
    ),
    outputs=(Output("sigma", "um"), Output("turns", "1", "integer"), Output("image", "1", "file")),
    defaults={"steps": 3, "optics": "doublet", "cooled": False},
    kind="measurement",
)

Bounded = Annotated[float, Interval(ge=0, le=1)]


def spec_of(function: Callable[..., Any]) -> ProcedureSpec:
    found = procedure_of(procedure("a.b", version="1")(function))
    assert found is not None
    return found.spec


def test_a_signature_is_a_contract() -> None:
    found = procedure_of(focus)
    assert found is not None
    assert found.spec == FOCUS
    assert found.function is focus
    assert found.infeasible_on == (ZeroDivisionError,)
    assert procedure_of(len) is None


def test_the_function_can_still_be_called() -> None:
    assert focus(2.0).sigma == 0.5


def test_a_contract_survives_json() -> None:
    assert ProcedureSpec.from_json(FOCUS.to_json()) == FOCUS


def test_a_point_is_completed_with_defaults_in_the_procedure_s_order() -> None:
    point = FOCUS.complete({"optics": "triplet", "k1": 1.0, "other": 1})
    assert list(point.items()) == [
        ("k1", 1.0), ("steps", 3), ("optics", "triplet"), ("cooled", False), ("other", 1),
    ]  # fmt: skip
    assert FOCUS.problems(point) == ["other: no such parameter"]
    assert FOCUS.problems(FOCUS.complete({})) == ["k1: missing"]


class Named(NamedTuple):
    a: float
    b: int


class Typed(TypedDict):
    a: Annotated[float, Unit("K")]


def test_outputs_are_named_by_the_type_that_is_returned() -> None:
    def named(x: Bounded) -> Named: ...

    def typed(x: Bounded) -> Typed: ...

    def number(x: Bounded) -> Annotated[float, Unit("K")]: ...

    def file(x: Bounded) -> Path: ...

    assert spec_of(named).outputs == (Output("a"), Output("b", "1", "integer"))
    assert spec_of(typed).outputs == (Output("a", "K"),)
    assert spec_of(number).outputs == (Output("value", "K"),)
    assert spec_of(file).outputs == (Output("value", "1", "file"),)
    assert spec_of(file).summary == ""


def no_type(x) -> float: ...  # type: ignore[no-untyped-def]  # pyright: ignore


def text(x: str) -> float: ...


def open_bound(x: Annotated[float, Gt(0), Le(1)]) -> float: ...


def no_bounds(x: float) -> float: ...


def wrong_bounds(x: Annotated[float, Interval(ge=1, le=0)]) -> float: ...


def bad_default(x: Bounded = 2.0) -> float: ...


def unknown_choice(x: Literal["a", "b"] = "c") -> float: ...  # type: ignore[assignment]


def many(*x: Bounded) -> float: ...


def any_name(**x: Bounded) -> float: ...


def by_position(x: Bounded, /) -> float: ...


def no_return(x: Bounded): ...  # type: ignore[no-untyped-def]


def text_returned(x: Bounded) -> str: ...


@dataclass
class Words:
    a: str


def words_returned(x: Bounded) -> Words: ...


REFUSED: list[tuple[Any, str]] = [
    (no_type, "parameter 'x' has no type"),
    (text, "parameter 'x' is of type <class 'str'>"),
    (open_bound, "parameter 'x' has an open bound"),
    (no_bounds, "parameter 'x' has no bounds"),
    (wrong_bounds, "parameter 'x' has no bounds"),
    (bad_default, "its default does not fit. x: 2.0 is outside"),
    (unknown_choice, "its default does not fit. x: found 'c'"),
    (many, "parameter 'x' cannot be given by name"),
    (any_name, "parameter 'x' cannot be given by name"),
    (by_position, "parameter 'x' cannot be given by name"),
    (no_return, "does not say what it returns"),
    (text_returned, "whose outputs have no names"),
    (words_returned, "output 'a' is of type <class 'str'>"),
]


@pytest.mark.parametrize(("function", "message"), REFUSED)
def test_a_signature_that_is_no_contract_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        spec_of(function)
    assert "Procedure 'a.b'" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "A", "a b", "a.", ".a", "1a", "a_b", "a..b", "a\n"])
def test_a_name_is_lower_case_words_and_dots(name: str) -> None:
    assert NAME.fullmatch("fusion.stellarator-equilibrium")
    with pytest.raises(UsageError, match="is no name for a procedure"):
        procedure(name, version="1")(focus)


@pytest.mark.parametrize(
    "result",
    [
        Beam(0.5, 3, Path("image.png")),
        {"sigma": 0.5, "turns": 3, "image": "image.png", "more": 1},
    ],
)
def test_results_become_numbers_and_files(result: object) -> None:
    assert outputs_of(result, FOCUS) == ({"sigma": 0.5, "turns": 3.0}, {"image": Path("image.png")})


def test_a_result_may_be_a_tuple_with_names_or_a_number() -> None:
    spec = ProcedureSpec("a", "1", "", (), (Output("a"), Output("b", "1", "integer")))
    assert outputs_of(Named(1.0, 2), spec) == ({"a": 1.0, "b": 2.0}, {})
    assert outputs_of(3, ProcedureSpec("a", "1", "", (), (Output("value"),))) == ({"value": 3.0}, {})


@dataclass
class Part:
    sigma: float


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"sigma": 0.5, "turns": 3}, "output 'image' is missing"),
        ({"sigma": None, "turns": 3, "image": "i"}, "output 'sigma' is missing"),
        (Part(1.0), "output 'turns' is missing"),
        ({"sigma": math.nan, "turns": 3, "image": "i"}, "output 'sigma' is nan, not a finite number"),
        ({"sigma": "much", "turns": 3, "image": "i"}, "output 'sigma' is 'much', not a number"),
        ({"sigma": [1.0], "turns": 3, "image": "i"}, r"output 'sigma' is \[1.0\], not a number"),
        ({"sigma": 1.0, "turns": 3, "image": 5}, "output 'image' is 5, not a path"),
        (1.0, "output 'turns' is missing"),
    ],
)
def test_a_result_that_lacks_something_is_refused(result: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        outputs_of(result, FOCUS)


def test_a_procedure_knows_the_run_that_it_is_in(tmp_path: Path) -> None:
    assert current_run() is None
    context = RunContext("0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e77", tmp_path / "run")

    def inside() -> RunContext | None:
        enter_run(context)
        assert not context.directory.exists()
        return current_run()

    assert copy_context().run(inside) == context
    assert context.directory.is_dir()
    assert current_run() is None
