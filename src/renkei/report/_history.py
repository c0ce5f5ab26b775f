"""What one campaign ledger tells: the campaign's trials and runs, and what sites reported word for word."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from renkei.campaign import RunRow, Status, StatusRow, TrialRow, TrialRuns, Trials
from renkei.campaign._state import OPEN
from renkei.errors import IntegrityBroken
from renkei.ledger import LedgerReader
from renkei.model.quantity import Quantity
from renkei.model.records import (
    CheckpointSeen,
    Record,
    RunAccepted,
    RunEnded,
    RunParked,
    RunRefused,
    RunReported,
    RunRequested,
    TrialAbandoned,
    TrialInfeasible,
    TrialObserved,
    read_record,
)

OUTCOMES = ("succeeded", "infeasible", "failed", "lost", "cancelled")
"""How a run that was accepted can end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a campaign.

    Args:
        row: Where it stands.
        requested: What the campaign asked for.
        said: The site's own records about it, in the order in which the campaign heard them.
    """

    row: RunRow
    requested: RunRequested
    said: tuple[Record, ...] = ()

    @property
    def accepted(self) -> RunAccepted | None:
        """The acceptance, if the campaign heard of it."""
        return next((r.body for r in self.said if isinstance(r.body, RunAccepted)), None)

    @property
    def parked(self) -> RunParked | None:
        """That it waited, or waits, for a person."""
        return next((r.body for r in self.said if isinstance(r.body, RunParked)), None)

    @property
    def refused(self) -> RunRefused | None:
        """The site's refusal."""
        return next((r.body for r in self.said if isinstance(r.body, RunRefused)), None)

    @property
    def ended(self) -> RunEnded | None:
        """How it ended."""
        return next((r.body for r in self.said if isinstance(r.body, RunEnded)), None)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.row.state in OPEN

    @property
    def was_accepted(self) -> bool:
        """Whether the site took it, whatever became of it."""
        return self.row.state == "accepted" or self.row.state in OUTCOMES

    @property
    def charge(self) -> Quantity:
        """What it was charged; nothing while it is open."""
        return Quantity(0 if self.is_open or self.row.state == "refused" else self.row.micro, self.row.unit)

    @property
    def worked(self) -> tuple[float, float] | None:
        """From when to when it worked, by the site's clock, in seconds since 1970 UTC; None if it never did."""
        for record in self.said:
            if isinstance(record.body, RunEnded):
                return (record.at - record.body.run_s, record.at) if record.body.run_s > 0 else None
        return None


@dataclass(frozen=True, slots=True)
class History:
    """One campaign (or baseline campaign) as its ledger tells it.

    Args:
        path: The ledger file.
        size: How many records were read.
        status: The campaign as a whole.
        trials: In the order of their proposal.
        runs: By id, in the order of their request.
        driven_s: By trial that ended, the seconds for which somebody had driven the campaign by then.
        seen: Sites' checkpoints, oldest first, each with the time at which the campaign saw it.
        notes: The ledger's own signed checkpoints by the number of records that they cover.
    """

    path: Path
    size: int
    status: StatusRow
    trials: tuple[TrialRow, ...]
    runs: Mapping[str, Run]
    driven_s: Mapping[str, float]
    seen: tuple[tuple[float, CheckpointSeen], ...]
    notes: Mapping[int, str]

    @property
    def ended_trials(self) -> list[TrialRow]:
        """The trials that have their fate, in the order in which they got it."""
        rows = {row.trial: row for row in self.trials}
        return [rows[trial] for trial in self.driven_s]

    def runs_of(self, trial: TrialRow) -> Iterator[Run]:
        """Yield the runs of a trial, in order."""
        return (self.runs[run] for run in trial.runs)


def read_history(path: Path) -> History:
    """Return what a campaign's ledger tells, also while the campaign goes on in another process.

    Everything comes from one pass over the records, so that trials, runs and times fit each other.

    Raises:
        LedgerError: There is no readable ledger at this path, or its records do not make sense.
    """
    try:
        with LedgerReader(path) as ledger:
            return _read(ledger)
    except (sqlite3.Error, LookupError, AttributeError, TypeError, ValueError) as error:
        raise IntegrityBroken(
            f"The ledger {path} does not make sense: {type(error).__name__}: {error}.",
            f"Run: renkei ledger verify {path}",
        ) from error


def _read(ledger: LedgerReader) -> History:
    trials, table, status = Trials(), TrialRuns(), Status()
    requested: dict[str, RunRequested] = {}
    said: dict[str, list[Record]] = {}
    driven_s: dict[str, float] = {}
    seen: list[tuple[float, CheckpointSeen]] = []
    size = 0
    for record in ledger.records():
        body = record.body
        for projection in (trials, table, status):
            if isinstance(body, projection.bodies):
                projection.apply(record.seq, record.at, body)
        if isinstance(body, RunReported):
            report = read_record(body.record)
            said.setdefault(report.body.run, []).append(report)
        elif isinstance(body, RunRequested):
            requested[body.run] = body
        elif isinstance(body, TrialObserved | TrialInfeasible | TrialAbandoned):
            driven_s[body.trial] = status.row.active_s + record.at - status.row.session_at
        elif isinstance(body, CheckpointSeen):
            seen.append((record.at, body))
        size = record.seq + 1
    runs = {run: Run(row, requested[run], tuple(said.get(run, ()))) for run, row in table.rows.items()}
    rows = tuple(trials.rows.values())
    return History(ledger.path, size, status.row, rows, runs, driven_s, tuple(seen), ledger.notes())
