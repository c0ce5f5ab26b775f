"""What policies are asked about a run."""

from collections.abc import Mapping
from operator import attrgetter

import msgspec

from renkei.model.space import Value


class Question(msgspec.Struct, frozen=True):
    """May this run be done here?

    Args:
        team: Who asks.
        institution: The institution that speaks for the team.
        party: The party of the agreement that the institution belongs to.
        site: The site that is asked.
        campaign: The campaign that the run is for.
        procedure: What is to be run.
        version: The procedure's version.
        kind: "simulation", "measurement" or "inference".
        purpose: What the campaign is for.
        release: The label that says who may see the results.
        parameters: The run's point, with defaults filled in.
        quantity: What the run may use at most, in `unit`.
        unit: The allocation unit.
    """

    team: str
    institution: str
    party: str
    site: str
    campaign: str
    procedure: str
    version: str
    kind: str
    purpose: str
    release: str
    parameters: Mapping[str, Value]
    quantity: float
    unit: str

    @property
    def facts(self) -> tuple[str, ...]:
        """Everything but parameters and quantity: what all runs of one source of a campaign have in common."""
        return _facts(self)


_facts = attrgetter(
    "team",
    "institution",
    "party",
    "site",
    "campaign",
    "procedure",
    "version",
    "kind",
    "purpose",
    "release",
    "unit",
)
