"""A site's policies: what they can see, and that whatever goes wrong means no."""

from decimal import Decimal
from typing import Any

import cedarpy
import pytest
from cedar_example import EQUILIBRIUM, QUESTION, SHOT, asked, forbid, ids, site
from msgspec import structs

from renkei.policy import DEFAULT_POLICY, Decision, SitePolicies


def test_the_default_policy_permits() -> None:
    decision = site().decide(QUESTION)
    assert decision.effect == "allow"
    assert ids(decision) == ["site.agreement-allows"]
    assert decision.reasons[0].text == "The site allows what the agreement allows."


def test_without_a_policy_that_permits_the_answer_is_no() -> None:
    for text in ("", "// nothing yet", '@id("x") permit (principal == Team::"quantum", action, resource);'):
        decision = SitePolicies(text, [SHOT]).decide(QUESTION)
        assert (decision.effect, ids(decision)) == ("deny", ["site.no-permit"])


def test_a_forbid_beats_every_permit_and_gives_its_reason() -> None:
    text = """
        @id("no-export") @reason("Results stay here.")
        forbid (principal in Party::"us", action in Action::"run", resource) when { context.release != "public" };
        @id("no-lasers")
        forbid (principal, action, resource) when { resource.area == "laser" };
    """
    decision = site(text).decide(QUESTION)
    assert decision.effect == "deny"
    assert [r.text for r in decision.reasons] == [
        "Results stay here.",
        "Policy 'no-lasers' of the site forbids it.",
    ]
    assert site(text).decide(asked(release="public")).reasons[0].id == "no-lasers"


def test_a_permit_with_ask_has_a_person_approve() -> None:
    text = '@id("costly") @ask("The shot director decides.") @reason("-") permit (principal, action, resource);'
    decision = site(text).decide(QUESTION)
    assert (decision.effect, ids(decision)) == ("ask", ["costly"])
    assert decision.reasons[0].text == "The shot director decides."


def test_every_policy_that_asks_is_a_reason_and_a_forbid_beats_them() -> None:
    asks = "".join(f'@id("{i}") @ask("{i}?") permit (principal, action, resource);' for i in "ab")
    assert ids(site(asks).decide(QUESTION)) == ["a", "b"]
    assert site(asks + forbid("true")).decide(QUESTION).effect == "deny"


@pytest.mark.parametrize(
    "condition",
    [
        'principal == Team::"fusion-energy"',
        'principal in Institution::"us-fusion-lab"',
        'principal in Party::"us"',
        'resource == Procedure::"laser.shot"',
        'resource.area == "laser"',
        'resource.kind == "measurement"',
        'resource.version == "2.1"',
        'context.institution == "us-fusion-lab"',
        'context.party == "us"',
        'context.site == "jp-fusion-institute"',
        'context.campaign == "stellarator-qs"',
        'context.purpose like "sci*"',
        'context.release == "partners"',
        'context.unit == "instrument-hour"',
        'context.quantity == decimal("2.0")',
        'context.parameters.energy.greaterThan(decimal("1.499"))',
        "context.parameters.pulses + 1 == 4",
        'context.parameters.gas == "He"',
        "context.parameters.polarised",
        "context.parameters.stage > 1",
        'context.parameters.angle == decimal("22.5")',
        'context.parameters.mode == "1"',
    ],
)
def test_policies_see_it(condition: str) -> None:
    assert ids(site(forbid(condition)).decide(QUESTION)) == ["no"]
    assert site(forbid(f"!({condition})")).decide(QUESTION).effect == "allow"


def test_reasons_come_in_the_order_of_the_text() -> None:
    names = [f"n{i}" for i in range(8)]
    for effect, answer in (("forbid", "deny"), ('@ask("?") permit', "ask")):
        text = "".join(f'@id("{name}") {effect} (principal, action, resource);' for name in names)
        decision = site(text).decide(QUESTION)
        assert (decision.effect, ids(decision)) == (answer, names)


def test_an_action_is_for_one_procedure_or_for_all_of_them() -> None:
    other = asked(procedure="fusion.stellarator-equilibrium", version="1.0", kind="simulation")
    one, all_ = site(forbid("true")), site(forbid("true", 'action in Action::"run"'))
    assert [one.decide(q).effect for q in (QUESTION, other)] == ["deny", "allow"]
    assert [all_.decide(q).effect for q in (QUESTION, other)] == ["deny", "deny"]


@pytest.mark.parametrize(
    "change", [{"procedure": "laser.sweep"}, {"procedure": "run"}, {"version": "2.0"}, {"kind": "simulation"}]
)
def test_what_the_site_does_not_offer_is_denied(change: dict[str, Any]) -> None:
    decision = site().decide(asked(**change))
    assert (decision.effect, ids(decision)) == ("deny", ["site.not-offered"])


@pytest.mark.parametrize("limit", ["1.5", "0.1", "-3.0", "0.0", "922337203685477.58"])
@pytest.mark.parametrize("step", [0.0, 1e-3, 1e-4, 1e-7, -1e-7, -1e-4, 1e18, -1e18])
def test_comparisons_with_a_limit_are_exact(limit: str, step: float) -> None:
    value, bound = float(limit) + step, Decimal(limit)
    exact = Decimal(repr(value))
    for method, expected in (
        ("greaterThan", exact > bound),
        ("greaterThanOrEqual", exact >= bound),
        ("lessThan", exact < bound),
        ("lessThanOrEqual", exact <= bound),
    ):
        policies = site(forbid(f'context.parameters.energy.{method}(decimal("{limit}"))'))
        decision = policies.decide(asked(parameters={"energy": value}))
        assert decision.effect == ("deny" if expected else "allow"), f"{value!r} {method} {limit}"


def test_a_forbid_that_cannot_be_evaluated_denies() -> None:
    """Cedar skips a policy that fails and then answers Allow."""
    text = forbid("context.parameters.pulses * 9223372036854775807 < 0")
    decision = site(text).decide(QUESTION)
    assert (decision.effect, ids(decision)) == ("deny", ["no"])
    assert "could not be evaluated, so the answer is no: integer overflow" in decision.reasons[0].text


def test_a_permit_that_cannot_be_evaluated_denies_though_another_permits() -> None:
    text = forbid("context.parameters.pulses * 9223372036854775807 < 0").replace("forbid", "permit")
    assert ids(site(text).decide(QUESTION)) == ["no"]


def test_policies_that_forbid_are_named_beside_those_that_fail() -> None:
    text = forbid("context.parameters.pulses * 9223372036854775807 < 0")
    decision = site(text + '@id("also") forbid (principal, action, resource);').decide(QUESTION)
    assert (decision.effect, ids(decision)) == ("deny", ["also", "no"])


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"energy": float("nan")}},
        {"parameters": {"energy": "1.5"}},
        {"parameters": {"energy": True}},
        {"parameters": {"energy": {"__extn": {"fn": "decimal", "arg": "1.5"}}}},
        {"parameters": {"pulses": 2.5}},
        {"parameters": {"pulses": 2**63}},
        {"parameters": {"pulses": True}},
        {"parameters": {"gas": 4}},
        {"parameters": {"gas": b"He"}},
        {"parameters": {"polarised": 1}},
        {"parameters": {"unknown": 1}},
        {"quantity": float("nan")},
        {"quantity": None},
        {"team": "\ud800"},
        {"campaign": "\ud800"},
        {"purpose": 7},
    ],
)
def test_a_question_that_cannot_be_read_is_denied(change: dict[str, Any]) -> None:
    policies = site(forbid("context.parameters.pulses > 1000"))
    assert policies.decide(QUESTION).effect == "allow"
    decision = policies.decide(asked(**change))
    assert (decision.effect, ids(decision)) == ("deny", ["site.unreadable"])


def test_a_missing_parameter_is_denied() -> None:
    policies = site(forbid("context.parameters.pulses > 1000"))
    decision = policies.decide(structs.replace(QUESTION, parameters={"energy": 1.0}))
    assert (decision.effect, ids(decision)) == ("deny", ["site.unreadable"])


@pytest.mark.parametrize(
    "answer",
    [
        {"decision": "NoDecision", "diagnostics": {"errors": []}},
        {"decision": "NoDecision", "diagnostics": {"reason": ["site.agreement-allows"]}},
        {"decision": "Allow", "diagnostics": {"reason": []}},
        {"decision": "Allow", "diagnostics": {"reason": ["nobody"]}},
        {"decision": "Allow", "diagnostics": {"reason": ["site.agreement-allows"], "errors": ["?"]}},
        {"decision": "Perhaps", "diagnostics": {}},
        {},
    ],
)
def test_any_answer_but_a_plain_allow_denies(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> None:
    def reply(*_: object) -> cedarpy.AuthzResult:
        return cedarpy.AuthzResult(answer)

    monkeypatch.setattr(cedarpy, "is_authorized", reply)
    decision = site().decide(QUESTION)
    assert decision.effect == "deny"
    assert decision.reasons


def test_an_engine_that_fails_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Decision:
        raise RuntimeError("out of order")

    monkeypatch.setattr(cedarpy, "is_authorized", fail)
    decision = site().decide(QUESTION)
    assert (decision.effect, ids(decision)) == ("deny", ["site.unreadable"])
    assert "out of order" in decision.reasons[0].text


def test_the_schema_is_there_to_be_read() -> None:
    schema = SitePolicies(DEFAULT_POLICY, [EQUILIBRIUM]).schema
    assert 'action "fusion.stellarator-equilibrium" in [Action::"run"]' in schema
    assert "aspect_ratio: __cedar::decimal" in schema
