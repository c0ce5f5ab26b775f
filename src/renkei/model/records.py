"""Every kind of record that a ledger holds. A record is `{seq, at, kind, body}`; `body` is one of the structs here.

A site's ledger holds what happened at the site; a campaign's ledger holds what the campaign did and, word for word,
what sites reported to it. Quantities are whole millionths (`micro`) of `unit`; times are seconds since 1970 UTC;
parameters and outputs are in the procedure's units in `run.*` records and in the campaign's units in `trial.*` records.
"""

from typing import Any

import msgspec

from renkei.model.space import Value


class Body(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The content of a record; `KINDS` names the kind of each struct."""


# ---- a site's ledger -------------------------------------------------------------------------------------------


class SiteOpened(Body, frozen=True, omit_defaults=True, gc=False):
    """A site began to serve: under which institution, key and agreement (digest), with which software."""

    site: str
    institution: str
    key: str
    agreement: str
    software: str


class AgreementAmended(Body, frozen=True, omit_defaults=True, gc=False):
    """The next version of the agreement came into force at the site, without a restart; what follows is under it."""

    version: int
    """The number of the version, counted from 1."""
    agreement: str
    """Its digest (SHA-256, hex)."""
    previous: str
    """Digest of the version before."""
    signed: tuple[str, ...]
    """The parties that signed it, with the keys of both versions."""


class InstitutionRevoked(Body, frozen=True, omit_defaults=True, gc=False):
    """A party gave notice that an institution, or a key alone, is revoked; its requests are refused from now on."""

    notice: str
    """Digest (SHA-256, hex) of the notice as it was signed."""
    institution: str
    """Who is revoked; empty where it is a key alone, whoever has it."""
    key: str
    """The id of the key that is revoked."""
    by: str
    """The party that gave notice."""
    since: float
    """When it gave notice."""
    reason: str
    version: int
    """The version of the agreement that the notice is about: a later one can name the institution with a new key."""


class AllocationGranted(Body, frozen=True, omit_defaults=True, gc=False):
    """A team may use this much more at the site."""

    team: str
    micro: int
    unit: str
    source: str


class BatchReceived(Body, frozen=True, omit_defaults=True, gc=False):
    """A signed batch of requests arrived and its signature held; `payload` is the signed text, byte for byte."""

    kind: str
    signer: str
    payload: str
    signature: bytes


class BatchEntered(Body, frozen=True, omit_defaults=True, gc=False):
    """Requests came in through the IRI face: a user whom the site itself knows, by token; `payload` is JSON."""

    by: str
    institution: str
    payload: str


class RequestRefused(Body, frozen=True, omit_defaults=True, gc=False):
    """A batch was not even looked into: forged, stale, for somebody else, or unreadable."""

    signer: str
    reason: str


class BackendChanged(Body, frozen=True, omit_defaults=True, gc=False):
    """The engine that runs jobs was looked at, and is in another state than the time before."""

    executor: str
    """The engine."""
    is_up: bool
    """Whether it can run jobs."""
    problems: tuple[str, ...] = ()
    """What is wrong, one sentence each."""


class Reason(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why something was decided: the rule's id, its text for people, and whose rule it is."""

    id: str
    text: str = ""
    source: str = ""


class RunAccepted(Body, frozen=True, omit_defaults=True, gc=False):
    """The site will run it: checked, allowed, and `micro` of the team's allocation reserved."""

    run: str
    request: str
    """Digest (SHA-256, hex) of the request as it was signed."""
    batch: int
    """The sequence number of the batch that it came in."""
    institution: str
    team: str
    campaign: str
    trial: str
    procedure: str
    version: str
    parameters: dict[str, Value]
    micro: int
    unit: str
    deadline: float
    reasons: tuple[Reason, ...] = ()


class RunParked(Body, frozen=True, omit_defaults=True, gc=False):
    """A person has to approve it first; nothing is reserved yet."""

    run: str
    request: str
    batch: int
    institution: str
    team: str
    campaign: str
    trial: str
    procedure: str
    version: str
    parameters: dict[str, Value]
    reasons: tuple[Reason, ...] = ()


class RunDecided(Body, frozen=True, omit_defaults=True, gc=False):
    """A person approved or denied a parked run."""

    run: str
    by: str
    approved: bool
    note: str = ""


class RunRefused(Body, frozen=True, omit_defaults=True, gc=False):
    """The site will not run it; `code` is "denied", "invalid", "allocation", "conflict" or "cancelled"."""

    run: str
    request: str
    batch: int
    team: str
    campaign: str
    trial: str
    procedure: str
    code: str
    reasons: tuple[Reason, ...]


class RunStarted(Body, frozen=True, omit_defaults=True, gc=False):
    """The executor was given the run. Written before it happens, so that a run never starts twice."""

    run: str
    executor: str
    job: str = ""


class Dataset(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Immutable content kept at a site, addressed by its digest (SHA-256, hex)."""

    name: str
    digest: str
    size_bytes: int


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What speaks for how a run ended."""

    exit_code: int | None = None
    signal: str = ""
    tail: str = ""
    """The last lines of its output."""
    directory: str = ""
    """The run's directory, below the site's data."""
    raw_state: str = ""
    """What the engine called the end, in its own words."""
    job: str = ""
    """What the engine called the job: its number, for people."""


class RunEnded(Body, frozen=True, omit_defaults=True, gc=False):
    """How a run ended. `charge` is settled in the same breath; what is left of the reservation is given back."""

    run: str
    outcome: str
    """succeeded, infeasible, failed, lost or cancelled."""
    team: str
    reserved: int
    """Millionths of the unit that acceptance had reserved."""
    charge: int
    """Millionths of the unit that are charged; never more than reserved."""
    unit: str
    queue_s: float = 0.0
    run_s: float = 0.0
    outputs: dict[str, float] = {}
    datasets: tuple[Dataset, ...] = ()
    fault: str = ""
    """Of a failed run: "facility" or "requester"."""
    retryable: bool = False
    message: str = ""
    evidence: Evidence | None = None


class JobRenamed(Body, frozen=True, omit_defaults=True, gc=False):
    """A user gave a job another name; "" takes it away."""

    run: str
    by: str
    name: str


class CancelAsked(Body, frozen=True, omit_defaults=True, gc=False):
    """Somebody asked that a run be cancelled."""

    run: str
    by: str


# ---- a campaign's ledger ---------------------------------------------------------------------------------------


class CampaignOpened(Body, frozen=True, omit_defaults=True, gc=False):
    """A campaign began; `text` is its campaign.toml as written."""

    campaign: str
    team: str
    institution: str
    key: str
    agreement: str
    seed: int
    text: str
    software: str


class CampaignResumed(Body, frozen=True, omit_defaults=True, gc=False):
    """The campaign went on after it had stopped, for whatever reason; `active_s` is how long it was driven before."""

    software: str
    active_s: float


class CampaignEnded(Body, frozen=True, omit_defaults=True, gc=False):
    """The campaign is over: reached, exhausted or stopped, and why."""

    state: str
    why: str


class TrialProposed(Body, frozen=True, omit_defaults=True, gc=False):
    """The planner proposed a point, in campaign units."""

    trial: str
    n: int
    parameters: dict[str, Value]
    planner: str
    source: str = ""
    """The source that it is to be tried at; empty where all sources are alike."""
    counts: bool = True
    """Whether what comes of it is what the campaign is after; otherwise it only informs the planner."""
    confirms: bool = False
    """Whether it is the campaign's last, at the point that was believed to be best."""


class RunRequested(Body, frozen=True, omit_defaults=True, gc=False):
    """The broker chose a site for a trial. Written before the request leaves."""

    run: str
    trial: str
    site: str
    procedure: str
    version: str
    parameters: dict[str, Value]
    why: dict[str, Any] = {}


class RunWithdrawn(Body, frozen=True, omit_defaults=True, gc=False):
    """The campaign gave a run up that no site took: the site refused the whole batch."""

    run: str
    why: str


class RunGivenUp(Body, frozen=True, omit_defaults=True, gc=False):
    """The campaign asks no more about a run: its site refuses, for good, to say what became of it."""

    run: str
    why: str


class RunReported(Body, frozen=True, omit_defaults=True, gc=False):
    """What a site reported about a run: the site's own record, byte for byte."""

    site: str
    record: msgspec.Raw


class TrialObserved(Body, frozen=True, omit_defaults=True, gc=False):
    """The trial has its outputs, in campaign units."""

    trial: str
    run: str
    outputs: dict[str, float]


class TrialInfeasible(Body, frozen=True, omit_defaults=True, gc=False):
    """The point cannot work."""

    trial: str
    run: str
    why: str


class TrialAbandoned(Body, frozen=True, omit_defaults=True, gc=False):
    """Nothing can be learned of this point: every try failed, or no site takes it."""

    trial: str
    why: str


class CheckpointSeen(Body, frozen=True, omit_defaults=True, gc=False):
    """A site's signed checkpoint, as the campaign saw it: what the site cannot take back any more."""

    site: str
    note: str


BODIES: dict[str, type[Body]] = {
    "site.opened": SiteOpened,
    "agreement.amended": AgreementAmended,
    "institution.revoked": InstitutionRevoked,
    "allocation.granted": AllocationGranted,
    "batch.received": BatchReceived,
    "batch.entered": BatchEntered,
    "request.refused": RequestRefused,
    "backend.changed": BackendChanged,
    "run.accepted": RunAccepted,
    "run.parked": RunParked,
    "run.decided": RunDecided,
    "run.refused": RunRefused,
    "run.started": RunStarted,
    "run.ended": RunEnded,
    "run.cancel-asked": CancelAsked,
    "job.renamed": JobRenamed,
    "campaign.opened": CampaignOpened,
    "campaign.resumed": CampaignResumed,
    "campaign.ended": CampaignEnded,
    "trial.proposed": TrialProposed,
    "run.requested": RunRequested,
    "run.withdrawn": RunWithdrawn,
    "run.given-up": RunGivenUp,
    "run.reported": RunReported,
    "trial.observed": TrialObserved,
    "trial.infeasible": TrialInfeasible,
    "trial.abandoned": TrialAbandoned,
    "checkpoint.seen": CheckpointSeen,
}
"""Every kind of record and the struct of its body."""

KINDS: dict[type[Body], str] = {body: kind for kind, body in BODIES.items()}
"""The kind of record that each struct is the body of."""


class Header(msgspec.Struct, frozen=True, gc=False):
    """A record as it lies in the ledger, its body not yet read."""

    seq: int
    at: float
    kind: str
    body: msgspec.Raw


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record with its body read. `raw` are the bytes that were hashed; a body of unknown kind is plain JSON."""

    seq: int
    at: float
    kind: str
    body: Any
    raw: bytes = b""


_read_header = msgspec.json.Decoder(Header).decode
_read_plain = msgspec.json.Decoder().decode
_readers = {kind: msgspec.json.Decoder(body).decode for kind, body in BODIES.items()}


def write_record(seq: int, at: float, body: Body) -> bytes:
    """Return the bytes of a record: the only time that it is serialised."""
    return msgspec.json.encode(_Written(seq, at, KINDS[type(body)], body))


def read_record(raw: bytes | msgspec.Raw) -> Record:
    """Return the record that `raw` holds.

    Raises:
        msgspec.DecodeError: These bytes are no record, or its body is not what its kind says.
    """
    global _last
    last = _last  # once: another thread may put its own there meanwhile
    if raw is last[0]:
        return last[1]
    header = _read_header(raw)
    record = Record(header.seq, header.at, header.kind, _readers.get(header.kind, _read_plain)(header.body), bytes(raw))
    _last = raw, record
    return record


_last: tuple[bytes | msgspec.Raw, Record] = b"", Record(0, 0.0, "", None)  # who reports a record reads it twice


class _Written(msgspec.Struct, gc=False):
    seq: int
    at: float
    kind: str
    body: Body
