"""What came of a scenario: campaigns and their discoveries, sites and what they did, allocations and their use."""

import statistics
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from renkei.campaign import Campaign, RunRow
from renkei.model.quantity import MICRO
from renkei.sim._clock import EPOCH

DAY_S = 86_400.0


@dataclass
class CampaignResult:
    """What came of one campaign. Times are virtual, in seconds.

    Args:
        name: Its name.
        series: What it is one of.
        team: Whose it is.
        sites: Where its runs went, with how many.
        state: How it ended: reached, exhausted, stopped; "running" when the time was over first.
        n_trials: Trials that it made.
        n_runs: Runs that it asked for; more than trials, where some had to be repeated.
        began_s: When it began, from the beginning of the scenario.
        ended_s: When it ended.
        discovered_s: How long after it began it made its discovery; None if it made none.
        trials_to_discovery: How many trials had ended then.
        charges: What it was charged in all, by unit.
        run_s: How long its runs took together.
    """

    name: str
    series: str
    team: str
    sites: dict[str, int]
    state: str
    n_trials: int
    n_runs: int
    began_s: float
    ended_s: float
    discovered_s: float | None
    trials_to_discovery: int | None
    charges: dict[str, float]
    run_s: float

    @classmethod
    def of(cls, campaign: Campaign, series: str, state: str, began_s: float, ended_s: float) -> "CampaignResult":
        """Return what a campaign shows."""
        sites, charges = Counter[str](), Counter[str]()
        run_s = 0.0
        for row in campaign.runs.rows.values():
            sites[row.site] += 1
            run_s += row.run_s
            if row.ended_at and row.unit:
                charges[row.unit] += row.micro
        found = [row.ended_seq for row in campaign.trials.rows.values() if campaign.has_reached(row)]
        first = min(found, default=None)
        at, n_before = None, None
        if first is not None:
            ended = [row for row in campaign.trials.rows.values() if 0 < row.ended_seq <= first]
            at = next(row.ended_at for row in ended if row.ended_seq == first) - EPOCH - began_s
            n_before = len(ended)
        return cls(
            campaign.name, series, campaign.file.team, dict(sorted(sites.items())), state,
            len(campaign.trials.rows), len(campaign.runs.rows), began_s, ended_s, at, n_before,
            {unit: micro / MICRO for unit, micro in sorted(charges.items())}, run_s,
        )  # fmt: skip


class SiteTally:
    """What one site did for all campaigns.

    Args:
        name: The site's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcomes = Counter[str]()
        """How many runs ended how; "open" are those that had not."""
        self.waits_s = array("d")
        """How long each run waited that ran."""
        self.ended_s = array("d")
        """When each run ended."""
        self.busy_s = 0.0
        """How long its runs took together."""

    def count(self, row: RunRow) -> None:
        """Count a run of a campaign."""
        self.outcomes[row.state if row.ended_at else "open"] += 1
        if row.run_s:
            self.waits_s.append(row.queue_s)
            self.ended_s.append(row.ended_at - EPOCH)
            self.busy_s += row.run_s

    def waiting_s(self) -> tuple[float, float] | None:
        """Return the median of what its runs waited and what one in ten waited longer than; None of no run."""
        if len(self.waits_s) < 2:
            return (self.waits_s[0], self.waits_s[0]) if self.waits_s else None
        tenths = statistics.quantiles(self.waits_s, n=10, method="inclusive")
        return tenths[4], tenths[8]

    def per_day(self, n_days: int) -> list[int]:
        """Return how many runs ended on each day."""
        days = [0] * n_days
        for at in self.ended_s:
            days[min(n_days - 1, int(at / DAY_S))] += 1
        return days


@dataclass(frozen=True)
class AllocationUse:
    """What a team used of what a site gave it, in `unit`."""

    site: str
    team: str
    unit: str
    granted: float
    spent: float
    reserved: float


@dataclass
class Result:
    """What came of a scenario.

    Args:
        scenario: Its name.
        seed: What it was run with.
        joint: Whether campaigns used all sites that contribute to their team, or a single one each.
        time_s: For how long it was to be watched.
        ended_s: When it was over, if before.
        campaigns: By name.
        sites: What sites did, by name.
        allocations: What became of every allocation.
        n_records: How many records all ledgers have.
        digests: SHA-256 of the last checkpoint of every ledger, by whose it is.
    """

    scenario: str
    seed: int
    joint: bool
    time_s: float
    ended_s: float = 0.0
    campaigns: list[CampaignResult] = field(default_factory=list[CampaignResult])
    sites: dict[str, SiteTally] = field(default_factory=dict[str, SiteTally])
    allocations: list[AllocationUse] = field(default_factory=list[AllocationUse])
    n_records: int = 0
    digests: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def n_runs(self) -> int:
        """How many runs were asked for."""
        return sum(each.n_runs for each in self.campaigns)

    @property
    def n_days(self) -> int:
        """Over how many days it went."""
        return max(1, -int(-max(self.ended_s, 1.0) // DAY_S))

    def of_team(self, team: str) -> Sequence[CampaignResult]:
        """Return a team's campaigns."""
        return [each for each in self.campaigns if each.team == team]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        sites = {
            name: {
                "outcomes": dict(sorted(tally.outcomes.items())),
                "waiting_s": tally.waiting_s(),
                "busy_s": tally.busy_s,
                "per_day": tally.per_day(self.n_days),
            }
            for name, tally in self.sites.items()
        }
        plain = {"scenario", "seed", "joint", "time_s", "ended_s", "campaigns", "allocations", "n_records", "digests"}
        return {name: getattr(self, name) for name in sorted(plain)} | {"n_runs": self.n_runs, "sites": sites}
