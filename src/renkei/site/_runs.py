"""The run table of a site: where every run stands, folded from the site's records."""

import msgspec

from renkei.ledger import Table
from renkei.model.records import (
    Body,
    JobRenamed,
    RunAccepted,
    RunDecided,
    RunEnded,
    RunParked,
    RunRefused,
    RunStarted,
)
from renkei.model.space import Value

LIVE = frozenset({"accepted", "started"})
"""States of runs that hold a reservation and still have to end."""


class RunRow(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """Where one run stands.

    `state` is parked, accepted, started, refused, or the outcome of a run that ended. `said` is the sequence number
    of the record that the campaign was, or will be, told last, and `renamed` that of the last one that named it.
    """

    run: str
    request: str
    state: str
    said: int
    batch: int
    institution: str
    team: str
    campaign: str
    trial: str
    procedure: str
    at: float
    version: str = ""
    micro: int = 0
    unit: str = ""
    started_at: float = 0.0
    deadline: float = 0.0
    parameters: dict[str, Value] = {}
    message: str = ""
    renamed: int = 0


class Runs(Table[RunRow]):
    """The projection of every run at a site, by run id. `live` and `parked` are the ones that are not over."""

    name = "runs"
    bodies = (RunAccepted, RunStarted, RunEnded, RunRefused, RunParked, RunDecided, JobRenamed)

    def __init__(self) -> None:
        super().__init__(RunRow)
        self.live: dict[str, RunRow] = {}
        self.parked: dict[str, RunRow] = {}

    def load(self, rows: object) -> None:
        """See `Projection.load`."""
        super().load(rows)  # type: ignore[arg-type]
        self.live = {run: row for run, row in self.rows.items() if row.state in LIVE}
        self.parked = {run: row for run, row in self.rows.items() if row.state == "parked"}

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        match body:
            case RunAccepted():
                self.parked.pop(body.run, None)
                row = self.live[body.run] = RunRow(
                    body.run, body.request, "accepted", seq, body.batch, body.institution, body.team, body.campaign,
                    body.trial, body.procedure, at, body.version, body.micro, body.unit, 0.0, body.deadline,
                    body.parameters,
                )  # fmt: skip
                self.put(body.run, row)
            case RunStarted():
                row = self.rows[body.run]
                row.state, row.started_at = "started", at
                self.put(body.run, row)
            case RunEnded():
                row = self.rows[body.run]
                del self.live[body.run]
                row.state, row.said, row.parameters, row.message = body.outcome, seq, {}, body.message
                self.put(body.run, row)
            case RunRefused() if body.code != "conflict":  # that id belongs to another request, which stays as it is
                self.parked.pop(body.run, None)
                why = "; ".join(reason.text or reason.id for reason in body.reasons)
                row = RunRow(
                    body.run, body.request, "refused", seq, body.batch, "", body.team, body.campaign, body.trial,
                    body.procedure, at, message=why,
                )  # fmt: skip
                self.put(body.run, row)
            case RunParked():
                row = self.parked[body.run] = RunRow(
                    body.run, body.request, "parked", seq, body.batch, body.institution, body.team, body.campaign,
                    body.trial, body.procedure, at, body.version, parameters=body.parameters,
                    message="; ".join(reason.text or reason.id for reason in body.reasons),
                )  # fmt: skip
                self.put(body.run, row)
            case RunDecided():
                self.rows[body.run].message = f"{'approved' if body.approved else 'denied'} by {body.by}"
                self.put(body.run, self.rows[body.run])
            case JobRenamed():
                self.rows[body.run].renamed = seq
                self.put(body.run, self.rows[body.run])
            case _:
                pass
