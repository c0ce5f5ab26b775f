"""Policies: exact limits, fail closed, memory that changes nothing."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from renkei.model.procedure import ProcedureSpec
from renkei.model.records import Reason
from renkei.model.rule import Rule
from renkei.model.space import Integer, Real
from renkei.policy import DEFAULT_POLICY, Decision, Policy, Question, SitePolicies, combine, decide_by_rules
from renkei.policy._schema import cedar_decimal

SPEC = ProcedureSpec("laser.shot", "1.0", "One shot.", (Real("energy", 0, 10, "kJ"), Integer("pulses", 1, 9)), ())
FORBID = """
    @id("hot") forbid (principal, action == Action::"laser.shot", resource)
    when { context.parameters.energy.greaterThan(decimal("5.0")) };
    @id("secret") forbid (principal, action, resource) when { context.release == "a" || context.party == "b" };
"""
LOOKING = SitePolicies(DEFAULT_POLICY + FORBID, [SPEC])
ASKING = '@id("c") @ask("?") permit (principal in Party::"b", action, resource) unless { context.unit == "a" };'
NOT_LOOKING = SitePolicies(DEFAULT_POLICY + ASKING, [SPEC])

words = st.sampled_from(["a", "b", "c", "", "a b", "é\n", '"', "\ud800", "__extn"])
values = st.floats() | st.integers() | st.text(max_size=3) | st.booleans()
effects = st.sampled_from(["allow", "ask", "deny"])
patterns = st.lists(st.sampled_from(["*", "a", "b*", "?", "x"]), min_size=1, max_size=2).map(tuple)
rules = st.builds(Rule, words, effects, patterns, patterns, patterns, patterns, patterns, patterns)
questions = st.builds(
    Question,
    *[words] * 5,
    procedure=st.sampled_from(["laser.shot", "laser.shot", "other"]),
    version=st.just("1.0"),
    kind=st.just("simulation"),
    purpose=words,
    release=words,
    parameters=st.dictionaries(st.sampled_from(["energy", "pulses", "x"]), values, max_size=3)
    | st.fixed_dictionaries({"energy": st.floats(0, 10), "pulses": st.integers(1, 9)}),
    quantity=st.floats(),
    unit=words,
)
reasons = st.builds(Reason, words, words, st.sampled_from(["agreement", "site"]))
decisions = st.builds(Decision, effects, st.lists(reasons, max_size=2).map(tuple))
STRENGTH = ["allow", "ask", "deny"]
numbers = st.floats(allow_nan=False) | st.integers() | st.floats(-1, 1).map(lambda x: round(x, 4))
limits = st.integers(-922337203685477580, 922337203685477580) | st.integers(-2000, 2000)


@given(numbers, limits)
@settings(max_examples=300)
def test_every_comparison_with_three_decimals_is_as_with_the_number_itself(value: float, thousandths: int) -> None:
    limit, seen = Decimal(thousandths) / 1000, Decimal(cedar_decimal(value))
    exact = Decimal(repr(value))
    assert (seen > limit, seen < limit, seen == limit) == (exact > limit, exact < limit, exact == limit)


@given(numbers)
def test_every_number_is_one_that_cedar_can_hold(value: float) -> None:
    text = cedar_decimal(value)
    assert len(text.partition(".")[2]) in (3, 4)
    assert Decimal("-922337203685477.5808") <= Decimal(text) <= Decimal("922337203685477.5807")


@given(numbers, numbers)
def test_a_larger_number_is_never_seen_as_the_smaller(a: float, b: float) -> None:
    first, second = sorted((a, b))
    assert Decimal(cedar_decimal(first)) <= Decimal(cedar_decimal(second))


@pytest.mark.parametrize("value", [float("nan"), True, "1.0", None])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        cedar_decimal(value)


@given(questions)
@settings(max_examples=100, deadline=None)
def test_any_question_gets_an_answer_with_reasons_and_only_good_ones_are_allowed(question: Question) -> None:
    decision = LOOKING.decide(question)
    assert decision.reasons
    if decision.effect == "allow":
        energy = question.parameters["energy"]
        assert isinstance(energy, int | float)
        assert energy <= 5.0
        assert question.procedure == "laser.shot"
        assert question.release != "a"
        assert question.party != "b"


@given(questions, values)
@settings(max_examples=50, deadline=None)
def test_memory_changes_no_answer(question: Question, value: float) -> None:
    fresh = SitePolicies(DEFAULT_POLICY + ASKING, [SPEC])
    assert NOT_LOOKING.decide(question) == fresh.decide(structs.replace(question, parameters={"energy": value}))


@given(st.lists(rules, max_size=3), rules, questions)
@settings(max_examples=50, deadline=None)
def test_a_deny_rule_never_makes_anything_easier(some: list[Rule], more: Rule, question: Question) -> None:
    before, after = decide_by_rules(some, question), decide_by_rules([*some, replace(more, effect="deny")], question)
    assert STRENGTH.index(after.effect) >= STRENGTH.index(before.effect)


@given(st.lists(rules, max_size=3), questions)
@settings(max_examples=50, deadline=None)
def test_neither_side_can_be_overruled(some: list[Rule], question: Question) -> None:
    both = Policy(some, NOT_LOOKING).decide(question)
    alone = [decide_by_rules(some, question).effect, NOT_LOOKING.decide(question).effect]
    assert both.effect == max(alone, key=STRENGTH.index)


@given(st.lists(decisions, min_size=1, max_size=4))
def test_the_strongest_decision_wins_in_any_order(some: list[Decision]) -> None:
    strongest = max((d.effect for d in some), key=STRENGTH.index)
    assert combine(some).effect == combine(reversed(some)).effect == strongest
