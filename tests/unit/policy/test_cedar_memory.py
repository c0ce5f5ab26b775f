"""What a site remembers of its decisions, and what it must not."""

from collections.abc import Callable
from typing import Any

import cedarpy
import pytest
from cedar_example import QUESTION, asked, forbid, site

from renkei.policy._memo import Memo


class Count:
    """Counts how often Cedar is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        self._ask: Callable[..., cedarpy.AuthzResult] = cedarpy.is_authorized  # pyright: ignore[reportUnknownMemberType]
        monkeypatch.setattr(cedarpy, "is_authorized", self)

    def __call__(self, *arguments: Any) -> cedarpy.AuthzResult:
        self.n += 1
        return self._ask(*arguments)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    return Count(monkeypatch)


def test_runs_of_one_campaign_are_decided_once_when_no_policy_looks_at_them(count: Count) -> None:
    policies = site(forbid('context.purpose == "weapons"'))
    assert not policies.uses_parameters
    first = policies.decide(QUESTION)
    assert policies.decide(asked(parameters={"energy": 9.0}, quantity=7.0)) == first
    assert count.n == 1


def test_every_run_is_decided_by_itself_when_a_policy_looks_at_it(count: Count) -> None:
    policies = site(forbid('context.parameters.energy.greaterThan(decimal("5.0"))'))
    assert policies.uses_parameters
    assert policies.decide(QUESTION).effect == "allow"
    assert policies.decide(asked(parameters={"energy": 9.0})).effect == "deny"
    assert policies.decide(QUESTION).effect == "allow"
    assert count.n == 3


@pytest.mark.parametrize(
    "field",
    ["team", "institution", "party", "site", "campaign", "purpose", "release", "unit", "procedure", "version", "kind"],
)
def test_another_fact_is_another_question(field: str) -> None:
    policies = site()
    if field in ("procedure", "version", "kind"):
        assert policies.decide(QUESTION).effect == "allow"
        assert policies.decide(asked(**{field: "other"})).effect == "deny"
        return
    where = {"team": 'principal == Team::"other"'}.get(field, f'context.{field} == "other"')
    policies = site(forbid(where))
    assert [policies.decide(q).effect for q in (QUESTION, asked(**{field: "other"}), QUESTION)] == [
        "allow",
        "deny",
        "allow",
    ]


@pytest.mark.parametrize("change", [{"parameters": {"energy": "?"}}, {"quantity": float("nan")}])
def test_what_is_remembered_comes_from_no_single_run(change: dict[str, Any]) -> None:
    policies = site()
    assert policies.decide(asked(**change)) == policies.decide(QUESTION)
    assert policies.decide(QUESTION).effect == "allow"


@pytest.mark.parametrize(
    "condition",
    [
        "context.parameters.pulses > 3",
        'context["parameters"].pulses > 3',
        'context.quantity.lessThan(decimal("3.0"))',
        "context has parameters",
        "context has quantity && true",
        "context has parameters.pulses",
        'if context.unit == "x" then true else context.parameters.polarised',
        "[context].contains(context)",
        "context == context",
        'context.unit == "x" && context == context',
        "(if true then context else context).parameters.polarised",
    ],
)
def test_any_way_to_look_at_a_run_is_noticed(condition: str) -> None:
    assert site(forbid(condition)).uses_parameters
    assert site(forbid(condition).replace("when", "unless")).uses_parameters


@pytest.mark.parametrize(
    "condition",
    ['context.unit == "parameters"', 'context.purpose like "*quantity*"', "context has unit", 'resource.area == "x"'],
)
def test_the_rest_of_the_context_is_not_the_run(condition: str) -> None:
    assert not site(forbid(condition)).uses_parameters
    assert site(forbid(condition)).decide(QUESTION).effect in ("allow", "deny")


def test_a_full_memory_begins_again() -> None:
    worked_out: list[int] = []

    def work_out(n: int) -> int:
        worked_out.append(n)
        return n

    memo = Memo[int, int](limit=2)
    for n in (1, 2, 1, 3, 1, 3):
        assert memo.get(n, lambda n=n: work_out(n)) == n
    assert worked_out == [1, 2, 3, 1]
