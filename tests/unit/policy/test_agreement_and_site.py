"""Agreement and site together: the stricter one wins, and every reason is told."""

import pytest
from cedar_example import QUESTION, asked, forbid, site

from renkei.model.rule import Effect, Rule
from renkei.policy import Policy

SITE = {"allow": "", "ask": '@id("ask") @ask("?") permit (principal, action, resource);', "deny": forbid("true")}


@pytest.mark.parametrize("by_site", ["allow", "ask", "deny"])
@pytest.mark.parametrize("by_rules", ["allow", "ask", "deny"])
def test_the_stricter_wins_with_the_reasons_of_those_who_agree(by_rules: Effect, by_site: Effect) -> None:
    decision = Policy([Rule("rule", by_rules)], site(SITE[by_site])).decide(QUESTION)
    strictest = max((by_rules, by_site), key=["allow", "ask", "deny"].index)
    sources = {source for source, effect in (("agreement", by_rules), ("site", by_site)) if effect == strictest}
    assert decision.effect == strictest
    assert {reason.source for reason in decision.reasons} == sources


def test_a_refusal_names_the_reasons_of_both() -> None:
    decision = Policy([], site(forbid("true"))).decide(QUESTION)
    assert [(r.source, r.id) for r in decision.reasons] == [("agreement", "agreement.no-rule"), ("site", "no")]


def test_rules_are_remembered_by_the_facts_that_they_look_at() -> None:
    policy = Policy([Rule("r", "allow", teams=("fusion-*",))], site())
    other = asked(team="quantum")
    assert [policy.decide(q).effect for q in (QUESTION, other, QUESTION, other)] == ["allow", "deny", "allow", "deny"]


def test_a_policy_says_whether_runs_matter() -> None:
    assert not Policy([], site()).uses_parameters
    looking = Policy([Rule("r", "allow")], site(forbid("context.parameters.pulses > 5")))
    assert looking.uses_parameters
    assert looking.decide(QUESTION).effect == "allow"
    assert looking.decide(asked(parameters={"pulses": 6})).effect == "deny"
