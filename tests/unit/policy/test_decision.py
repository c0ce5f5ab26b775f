"""Decisions: which one wins."""

import pytest

from renkei.model.records import Reason
from renkei.policy.decision import Decision, combine

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
