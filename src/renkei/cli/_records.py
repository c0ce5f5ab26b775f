"""One line for people about each kind of record."""

from renkei.cli._output import amount, duration, point
from renkei.model import records as r


def summary_of(record: r.Record) -> str:
    """Return what a record says, in one line."""
    return _said(record.body).replace("\n", " ")


def _said(body: object) -> str:
    match body:
        case r.SiteOpened():
            return f"{body.site} of {body.institution}, renkei {body.software}"
        case r.AllocationGranted():
            return f"{amount(body.micro, body.unit)} to team {body.team} ({body.source})"
        case r.BatchReceived():
            return f"{body.kind} signed by {body.signer}"
        case r.RequestRefused():
            return f"from {body.signer}: {body.reason}"
        case r.RunAccepted():
            reserved = amount(body.micro, body.unit)
            return f"{_short(body.run)} {body.procedure} ({point(body.parameters)}), reserved {reserved}"
        case r.RunParked():
            return f"{_short(body.run)} {body.procedure} waits for a person: {_reasons(body.reasons)}"
        case r.RunDecided():
            note = f": {body.note}" if body.note else ""
            return f"{_short(body.run)} {'approved' if body.approved else 'denied'} by {body.by}{note}"
        case r.RunRefused():
            return f"{_short(body.run)} {body.code}: {_reasons(body.reasons)}"
        case r.RunStarted():
            return f"{_short(body.run)} by {body.executor} {body.job}".rstrip()
        case r.RunEnded():
            result = point(body.outputs) or body.message
            charge = amount(body.charge, body.unit)
            return f"{_short(body.run)} {body.outcome} after {duration(body.run_s)}, charged {charge}: {result}"
        case r.CancelAsked():
            return f"{_short(body.run)} by {body.by}"
        case r.CampaignOpened():
            return f"{body.campaign} of team {body.team}, seed {body.seed}, at {body.institution}"
        case r.CampaignResumed():
            return f"with renkei {body.software}"
        case r.CampaignEnded():
            return f"{body.state}: {body.why}"
        case r.TrialProposed():
            return f"{body.n + 1} by {body.planner}: {point(body.parameters)}"
        case r.RunRequested():
            return f"{_short(body.run)} of {body.procedure} at {body.site} for trial {_short(body.trial)}"
        case r.RunWithdrawn() | r.RunGivenUp():
            return f"{_short(body.run)}: {body.why}"
        case r.RunReported():
            said = r.read_record(body.record)
            return f"{body.site} said {said.kind}: {_said(said.body)}"
        case r.TrialObserved():
            return f"{_short(body.trial)}: {point(body.outputs)}"
        case r.TrialInfeasible() | r.TrialAbandoned():
            return f"{_short(body.trial)}: {body.why}"
        case r.CheckpointSeen():
            lines = body.note.split("\n")
            return f"{body.site} signed {lines[1] if len(lines) > 1 else '?'} records"
        case _:
            return "of a kind that this renkei does not know"


def _short(identity: str) -> str:
    """Return the end of an id: what tells ids of the same moment apart."""
    return f"…{identity[-8:]}"


def _reasons(reasons: tuple[r.Reason, ...]) -> str:
    return "; ".join(reason.text or reason.id for reason in reasons)
