"""Rules of an agreement: when they apply and which one wins."""

from dataclasses import replace
from typing import Any

import pytest

from renkei.model.rule import Rule
from renkei.policy.question import Question
from renkei.policy.rules import decide_by_rules

QUESTION = Question(
    team="fusion-energy",
    institution="us-fusion-lab",
    party="us",
    site="jp-fusion-institute",
    campaign="stellarator-qs",
    procedure="fusion.stellarator-equilibrium",
    version="1.0",
    kind="simulation",
    purpose="science",
    release="partners",
    parameters={},
    quantity=1.0,
    unit="node-hour",
)
ALLOW = Rule("all", "allow")


def ids(*rules: Rule) -> tuple[str, list[str]]:
    decision = decide_by_rules(rules, QUESTION)
    assert all(reason.source == "agreement" for reason in decision.reasons)
    return decision.effect, [reason.id for reason in decision.reasons]


def test_without_a_rule_that_applies_the_answer_is_no_and_says_to_what() -> None:
    decision = decide_by_rules([Rule("other", "allow", teams=("quantum",))], QUESTION)
    assert decision.effect == "deny"
    assert decision.reasons[0].id == "agreement.no-rule"
    assert decision.reasons[0].text == (
        "No rule of the agreement lets team 'fusion-energy' of 'us-fusion-lab' (us) run "
        "'fusion.stellarator-equilibrium' at 'jp-fusion-institute' for 'science'."
    )


def test_a_rule_without_patterns_applies_to_everything() -> None:
    assert ids(ALLOW) == ("allow", ["all"])


@pytest.mark.parametrize(
    "fields",
    [
        {"teams": ("fusion-*",)},
        {"teams": ("quantum", "fusion-energy")},
        {"procedures": ("fusion.*",)},
        {"sites": ("jp-*",)},
        {"purposes": ("scien?e",)},
        {"institutions": ("us-fusion-lab",)},
        {"parties": ("[uv]s",)},
        {"teams": ("fusion-*",), "parties": ("us",), "sites": ("jp-*",)},
    ],
)
def test_a_rule_applies_where_every_field_has_a_pattern_that_fits(fields: dict[str, Any]) -> None:
    assert ids(Rule("r", "allow", **fields)) == ("allow", ["r"])


@pytest.mark.parametrize(
    "fields",
    [
        {"teams": ("quantum",)},
        {"teams": ()},
        {"teams": ("Fusion-Energy",)},
        {"procedures": ("fusion",)},
        {"sites": ("us-*",)},
        {"purposes": ("",)},
        {"institutions": ("jp-*",)},
        {"parties": ("jp",)},
        {"teams": ("fusion-*",), "parties": ("jp",)},
    ],
)
def test_a_rule_does_not_apply_where_one_field_does_not_fit(fields: dict[str, Any]) -> None:
    assert ids(Rule("r", "allow", **fields)) == ("deny", ["agreement.no-rule"])


def test_deny_beats_ask_beats_allow_in_any_order() -> None:
    deny, ask = Rule("no", "deny"), Rule("first", "ask")
    assert ids(ALLOW, ask, deny) == ids(deny, ask, ALLOW) == ("deny", ["no"])
    assert ids(ALLOW, ask) == ids(ask, ALLOW) == ("ask", ["first"])


def test_an_ask_rule_needs_no_allow_rule_beside_it() -> None:
    assert ids(Rule("first", "ask")) == ("ask", ["first"])


def test_every_rule_of_the_winning_effect_is_a_reason() -> None:
    rules = [replace(ALLOW, id=str(n), procedures=("fusion.*" if n != 1 else "quantum.*",)) for n in range(4)]
    assert ids(*rules) == ("allow", ["0", "2", "3"])


def test_a_rule_gives_its_reason_or_says_that_it_is_a_rule() -> None:
    with_reason = decide_by_rules([replace(ALLOW, reason="Annex 2 says so.")], QUESTION)
    assert with_reason.reasons[0].text == "Annex 2 says so."
    assert decide_by_rules([ALLOW], QUESTION).reasons[0].text == "Rule 'all' of the agreement allows it."
    assert "forbids it" in decide_by_rules([Rule("r", "deny")], QUESTION).reasons[0].text
    assert "wants a person to approve it" in decide_by_rules([Rule("r", "ask")], QUESTION).reasons[0].text
