"""Where a campaign stands: its trials and its runs, folded from its ledger."""

from typing import Any

import msgspec

from renkei.ledger import Table
from renkei.model.records import (
    Body,
    CampaignEnded,
    CampaignOpened,
    CampaignResumed,
    RunAccepted,
    RunEnded,
    RunGivenUp,
    RunParked,
    RunRefused,
    RunReported,
    RunRequested,
    RunWithdrawn,
    TrialAbandoned,
    TrialInfeasible,
    TrialObserved,
    TrialProposed,
    read_record,
)
from renkei.model.space import Value

PENDING = "pending"
"""The state of a trial whose fate is not known yet; the others: observed, infeasible, abandoned."""
OPEN = frozenset({"requested", "accepted", "parked"})
"""States of runs that have not ended."""


class TrialRow(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One trial: its point, where it was tried, and its fate."""

    trial: str
    n: int
    parameters: dict[str, Value]
    at: float
    state: str = PENDING
    runs: tuple[str, ...] = ()
    """The runs that were requested for it, in order."""
    run: str = ""
    """The run that gave its fate."""
    outputs: dict[str, float] = {}
    """In campaign units."""
    ended_at: float = 0.0
    why: str = ""
    ended_seq: int = 0
    """The number of the record that tells its fate; times may be the same, or go back."""
    source: str = ""
    """The source that it is to be tried at; empty where all sources are alike."""
    counts: bool = True
    """Whether it can be the best or reach the goal; otherwise it only informs the planner."""
    confirms: bool = False
    """Whether it is the campaign's last, at the point that was believed to be best."""


class RunRow(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One run as the campaign knows it; `outputs` are in the procedure's units."""

    run: str
    trial: str
    site: str
    procedure: str
    at: float
    state: str = "requested"
    micro: int = 0
    """Millionths of `unit`: reserved while it runs, charged once it ended."""
    unit: str = ""
    queue_s: float = 0.0
    run_s: float = 0.0
    ended_at: float = 0.0
    outputs: dict[str, float] = {}
    fault: str = ""
    message: str = ""
    code: str = ""
    retryable: bool = False
    n_datasets: int = 0


class Trials(Table[TrialRow]):
    """The projection of every trial. `pending` are those without a fate, in the order of their proposal."""

    name = "trials"
    bodies = (TrialProposed, RunRequested, TrialObserved, TrialInfeasible, TrialAbandoned)

    def __init__(self) -> None:
        super().__init__(TrialRow)
        self.pending: dict[str, TrialRow] = {}

    def load(self, rows: Any) -> None:
        """See `Projection.load`."""
        super().load(rows)
        self.rows = dict(sorted(self.rows.items(), key=lambda item: item[1].n))
        self.pending = {trial: row for trial, row in self.rows.items() if row.state == PENDING}

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        match body:
            case TrialProposed():
                row = TrialRow(body.trial, body.n, body.parameters, at)
                row.source, row.counts, row.confirms = body.source, body.counts, body.confirms
                self.pending[body.trial] = row
            case RunRequested():
                row = self.rows[body.trial]
                row.runs = (*row.runs, body.run)
            case TrialObserved():
                row = self.pending.pop(body.trial)
                row.state, row.run, row.outputs = "observed", body.run, body.outputs
                row.ended_at, row.ended_seq = at, seq
            case TrialInfeasible():
                row = self.pending.pop(body.trial)
                row.state, row.run, row.why = "infeasible", body.run, body.why
                row.ended_at, row.ended_seq = at, seq
            case TrialAbandoned():
                row = self.pending.pop(body.trial)
                row.state, row.why = "abandoned", body.why
                row.ended_at, row.ended_seq = at, seq
            case _:
                return
        self.put(row.trial, row)


class TrialRuns(Table[RunRow]):
    """The projection of every run that the campaign asked for. `open` are those that have not ended."""

    name = "runs"
    bodies = (RunRequested, RunReported, RunWithdrawn, RunGivenUp)

    def __init__(self) -> None:
        super().__init__(RunRow)
        self.open: dict[str, RunRow] = {}

    def load(self, rows: Any) -> None:
        """See `Projection.load`."""
        super().load(rows)
        self.open = {run: row for run, row in self.rows.items() if row.state in OPEN}

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        if isinstance(body, RunRequested):
            row = self.open[body.run] = RunRow(body.run, body.trial, body.site, body.procedure, at)
        elif isinstance(body, RunWithdrawn):
            row = self.open.pop(body.run)
            row.state, row.code, row.message, row.ended_at = "refused", "batch", body.why, at
        elif isinstance(body, RunGivenUp):  # what it reserved stays counted: that much it may have been charged
            row = self.open.pop(body.run)
            row.state, row.code, row.message, row.ended_at = "lost", "unknown", body.why, at
        elif isinstance(body, RunReported):
            said = read_record(body.record).body
            row = self.rows[said.run]
            match said:
                case RunAccepted():
                    row.state, row.micro, row.unit = "accepted", said.micro, said.unit
                case RunEnded():
                    row.state, row.micro, row.unit, row.outputs = said.outcome, said.charge, said.unit, said.outputs
                    row.queue_s, row.run_s, row.ended_at = said.queue_s, said.run_s, at
                    row.fault, row.message, row.retryable = said.fault, said.message, said.retryable
                    row.n_datasets = len(said.datasets)
                    del self.open[said.run]
                case RunRefused():
                    row.state, row.code, row.ended_at = "refused", said.code, at
                    row.message = "; ".join(reason.text or reason.id for reason in said.reasons)
                    del self.open[said.run]
                case RunParked():
                    row.state = "parked"
                    row.message = "; ".join(reason.text or reason.id for reason in said.reasons)
                case _:
                    return
        else:
            return
        self.put(row.run, row)


class StatusRow(msgspec.Struct):
    """The campaign as a whole. Time counts only while somebody drives it.

    `active_s` is what earlier sessions took; the present one began at `session_at`.
    """

    campaign: str = ""
    team: str = ""
    institution: str = ""
    state: str = "running"
    why: str = ""
    opened_at: float = 0.0
    session_at: float = 0.0
    active_s: float = 0.0
    n_sessions: int = 0
    text: str = ""


class Status(Table[StatusRow]):
    """The projection of the campaign as a whole; one row."""

    name = "status"
    bodies = (CampaignOpened, CampaignResumed, CampaignEnded)

    def __init__(self) -> None:
        super().__init__(StatusRow)

    @property
    def row(self) -> StatusRow:
        """The one row."""
        return self.rows.get("campaign") or StatusRow()

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        row = self.row
        match body:
            case CampaignOpened():
                row = StatusRow(
                    body.campaign,
                    body.team,
                    body.institution,
                    opened_at=at,
                    session_at=at,
                    n_sessions=1,
                    text=body.text,
                )
            case CampaignResumed():
                row.state, row.why, row.n_sessions = "running", "", row.n_sessions + 1
                row.active_s, row.session_at = body.active_s, at
            case CampaignEnded():
                row.state, row.why = body.state, body.why
            case _:
                return
        self.put("campaign", row)
