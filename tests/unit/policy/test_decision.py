"""Decisions: which one wins, and their JSON."""

import pytest

from renkei.errors import ProtocolMismatch
from renkei.policy.decision import Decision, Reason, combine

ALLOW = Decision("allow", (Reason("a", "Fine.", "agreement"),))
ASK = Decision("ask", (Reason("b", "Ask first.", "site"),))
DENY = Decision("deny", (Reason("c", "No.", "site"), Reason("d", "Never.", "site")))


@pytest.mark.parametrize(
    ("given", "wins"),
    [((ALLOW, ASK, DENY), DENY), ((DENY, ASK, ALLOW), DENY), ((ASK, ALLOW), ASK), ((ALLOW, ASK), ASK), ((ASK,), ASK)],
)
def test_deny_beats_ask_beats_allow(given: tuple[Decision, ...], wins: Decision) -> None:
    assert combine(given) == wins


def test_all_that_agree_give_their_reasons() -> None:
    other = Decision("allow", (Reason("e", "Also fine.", "site"),))
    assert combine((ALLOW, other)) == Decision("allow", ALLOW.reasons + other.reasons)


def test_nothing_cannot_be_combined() -> None:
    with pytest.raises(ValueError, match="empty"):
        combine(())


def test_a_decision_survives_json() -> None:
    assert DENY.to_json() == {
        "effect": "deny",
        "reasons": [{"id": "c", "text": "No.", "source": "site"}, {"id": "d", "text": "Never.", "source": "site"}],
    }
    assert Decision.from_json(DENY.to_json()) == DENY


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"effect": "maybe", "reasons": []},
        {"effect": "allow", "reasons": [{"id": "a"}]},
        {"effect": "allow", "reasons": [{"id": "a", "text": "b", "source": "elsewhere"}]},
    ],
)
def test_json_that_is_no_decision_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ProtocolMismatch, match="A decision cannot be read"):
        Decision.from_json(data)
