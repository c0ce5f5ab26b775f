"""Decisions: allow, deny or ask, always with reasons."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from renkei.errors import ProtocolMismatch
from renkei.model.rule import Effect

Source = Literal["agreement", "site"]

_STRENGTH: dict[Effect, int] = {"allow": 0, "ask": 1, "deny": 2}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision is what it is.

    Args:
        id: The rule or policy, or the circumstance ("agreement.no-rule", "site.no-permit").
        text: A sentence for people.
        source: Who says so: the agreement or the site.
    """

    id: str
    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be done with a run, and why.

    Args:
        effect: "ask" means: allowed once a person has approved it.
        reasons: At least one.
    """

    effect: Effect
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        reasons = [{"id": r.id, "text": r.text, "source": r.source} for r in self.reasons]
        return {"effect": self.effect, "reasons": reasons}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Decision":
        """Return the decision that `to_json` wrote.

        Raises:
            ProtocolMismatch: It is not a decision.
        """
        try:
            return msgspec.convert(data, Decision)
        except msgspec.ValidationError as error:
            raise ProtocolMismatch(f"A decision cannot be read: {error}.") from None


def combine(decisions: Iterable[Decision]) -> Decision:
    """Return the strongest of the decisions (deny beats ask beats allow) with the reasons of all that agree with it.

    Raises:
        ValueError: There are none.
    """
    given = list(decisions)
    effect = max(given, key=lambda d: _STRENGTH[d.effect]).effect
    return Decision(effect, tuple(reason for d in given if d.effect == effect for reason in d.reasons))
