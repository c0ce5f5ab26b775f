"""What holds for all spaces, quantities, units, points and agreements."""

import json
import math
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from renkei.model.agreement import Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import new_agreement_text
from renkei.model.binding import Binding, check_against
from renkei.model.campaign import Campaign, Source, space_from_json, space_to_json
from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.quantity import MICRO, Quantity
from renkei.model.space import Choice, Integer, Objective, Parameter, ParameterConstraint, Real, Space, Value
from renkei.units import ALLOCATION_UNITS, convert

NUMBERS = st.floats(-1e9, 1e9)
UNITS = st.sampled_from(["1", "K", "kA", "mmol/g/h"])
LENGTHS = st.sampled_from(["m", "mm", "um", "km", "inch"])
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z0-9][a-z0-9-]{0,8})?", fullmatch=True)


@st.composite
def parameters(draw: st.DrawFn, name: str) -> Parameter:
    kind = draw(st.sampled_from(["real", "integer", "choice"]))
    if kind == "choice":
        values = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
        found = draw(st.lists(values, min_size=2, max_size=5, unique_by=lambda v: (isinstance(v, bool), v)))
        return Choice(name, tuple(found))
    low, span, log = draw(st.integers(1, 1000)), draw(st.integers(1, 1000)), draw(st.booleans())
    if kind == "integer":
        return Integer(name, low, low + span, draw(UNITS), log)
    scale = draw(st.floats(1e-6, 1e6))
    return Real(name, low * scale, (low + span) * scale, draw(UNITS), log)


@st.composite
def values(draw: st.DrawFn, parameter: Parameter) -> Value:
    if isinstance(parameter, Choice):
        return draw(st.sampled_from(parameter.values))
    if isinstance(parameter, Integer):
        return draw(st.integers(parameter.low, parameter.high))
    return draw(st.floats(parameter.low, parameter.high))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    names = draw(st.lists(TEXTS, min_size=1, max_size=4, unique=True))
    found = tuple(draw(parameters(name)) for name in names)
    n = draw(st.integers(0, 4))
    points = tuple({p.name: draw(values(p)) for p in found} for _ in range(n))
    numbers = [p.name for p in found if not isinstance(p, Choice)]
    terms = draw(st.dictionaries(st.sampled_from(numbers), NUMBERS, max_size=3)) if numbers else {}
    lower, upper = draw(st.just(-math.inf) | NUMBERS), draw(st.just(math.inf) | NUMBERS)
    constraints = (ParameterConstraint(tuple(terms.items()), lower, upper),) if terms else ()
    return Space(found, points if n else None, constraints)


@settings(deadline=None)
@given(spaces())
def test_a_space_survives_json(space: Space) -> None:
    back = space_from_json(json.loads(json.dumps(space_to_json(space))))
    assert back == space
    assert repr(back) == repr(space)  # 1, 1.0 and True are equal, but must not be exchanged


@settings(deadline=None)
@given(spaces())
def test_the_points_of_a_pool_are_points_of_its_space(space: Space) -> None:
    free = Space(space.parameters)
    assert [problem for point in space.pool or () for problem in free.problems(point)] == []


@settings(deadline=None)
@given(st.integers(0, 10**18), st.sampled_from(ALLOCATION_UNITS))
def test_a_quantity_survives_its_text(micro: int, unit: str) -> None:
    quantity = Quantity(micro, unit)
    assert Quantity.parse(str(quantity)) == quantity


@settings(deadline=None)
@given(st.floats(0, 1e12))
def test_a_charge_is_rounded_up_and_by_less_than_a_millionth(value: float) -> None:
    micro = Quantity.of(value, "run").micro
    assert math.ceil(value * MICRO * (1 - 1e-15)) <= micro <= math.ceil(value * MICRO * (1 + 1e-15))
    assert Quantity.of(micro / MICRO, "run").micro == micro or micro > 2**53


@settings(deadline=None)
@given(NUMBERS, LENGTHS, LENGTHS)
def test_units_convert_there_and_back(value: float, first: str, second: str) -> None:
    assert math.isclose(convert(convert(value, first, second), second, first), value, rel_tol=1e-12, abs_tol=1e-300)


@settings(deadline=None)
@given(st.data(), LENGTHS, LENGTHS, st.floats(1e-3, 1e3), st.floats(0, 1))
def test_a_point_within_a_campaign_s_bounds_is_within_the_procedure_s(
    data: st.DataObject, mine: str, theirs: str, low: float, span: float
) -> None:
    high = low * (1.5 + span)
    spec = ProcedureSpec(
        "f", "1", "", (Real("x", convert(low, mine, theirs), convert(high, mine, theirs), theirs),), (Output("y"),)
    )
    space = Space((Real("x", low, high, mine),))
    campaign = Campaign(name="c", space=space, objectives=(Objective("y"),), sources=(Source(procedure="f"),))
    assert check_against(campaign, {"f": spec}) == []
    value = data.draw(st.one_of(st.floats(low, high), st.sampled_from([low, high])))
    point = Binding(campaign, campaign.sources[0], spec).to_procedure({"x": value})
    assert spec.problems(point) == []
    assert math.isclose(convert(float(point["x"]), theirs, mine), value, rel_tol=1e-9)


@settings(max_examples=50, deadline=None)
@given(NAMES, TEXTS, st.dictionaries(NAMES, TEXTS, min_size=1, max_size=3), st.integers(0, 3000))
def test_a_new_agreement_can_always_be_read(name: str, title: str, people: dict[str, str], days: int) -> None:
    starts = date(2026, 1, 1)
    ends = date.fromordinal(starts.toordinal() + days)
    agreement = parse_agreement(
        new_agreement_text(
            name,
            title=title,
            starts=starts,
            ends=ends,
            parties={key: Party(name=text) for key, text in people.items()},
            institutions={key: Institution(name=text, party=key, key="renkei1:" + key) for key, text in people.items()},
            teams={key: Team(name=text, institutions=tuple(people)) for key, text in people.items()},
        )
    )
    assert (agreement.name, agreement.title) == (name, title)
    assert {key: party.name for key, party in agreement.parties.items()} == people
    assert {key: team.name for key, team in agreement.teams.items()} == people
    assert agreement.ends - agreement.starts == (days + 1) * 86400
