"""Decisions: allow, deny or ask, always with reasons."""

from collections.abc import Iterable
from dataclasses import dataclass

from renkei.model.records import Reason
from renkei.model.rule import Effect

_STRENGTH: dict[Effect, int] = {"allow": 0, "ask": 1, "deny": 2}


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be done with a run, and why.

    Args:
        effect: "ask" means: allowed once a person has approved it.
        reasons: At least one.
    """

    effect: Effect
    reasons: tuple[Reason, ...]


def combine(decisions: Iterable[Decision]) -> Decision:
    """Return the strongest of the decisions (deny beats ask beats allow) with the reasons of all that agree with it.

    Raises:
        ValueError: There are none.
    """
    given = list(decisions)
    effect = max(given, key=lambda d: _STRENGTH[d.effect]).effect
    return Decision(effect, tuple(reason for d in given if d.effect == effect for reason in d.reasons))
