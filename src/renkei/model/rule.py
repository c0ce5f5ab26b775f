"""Rules of an agreement: who may run what, where and what for."""

from dataclasses import dataclass
from typing import Literal

Effect = Literal["allow", "deny", "ask"]
"""What a decision can be: allowed, denied, or allowed once a person has approved it."""

_ANY = ("*",)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an agreement. It applies where every field has a pattern that fits.

    Patterns are those of a shell, and case matters: "fusion.*" fits every procedure of the area fusion.

    Args:
        id: Its name within the agreement.
        effect: What it does where it applies; deny beats ask, ask beats allow, and without any rule the answer is deny.
        teams: Patterns of team names.
        procedures: Patterns of procedure names.
        sites: Patterns of the names of the sites that are asked to run the procedure.
        purposes: Patterns of the purposes that a campaign states.
        institutions: Patterns of the names of the institutions that ask.
        parties: Patterns of the parties that those institutions belong to.
        reason: Why, in a sentence for people.
    """

    id: str
    effect: Effect
    teams: tuple[str, ...] = _ANY
    procedures: tuple[str, ...] = _ANY
    sites: tuple[str, ...] = _ANY
    purposes: tuple[str, ...] = _ANY
    institutions: tuple[str, ...] = _ANY
    parties: tuple[str, ...] = _ANY
    reason: str = ""
