"""What campaigns and sites say to each other."""

import hashlib
from collections.abc import Sequence

import msgspec

from renkei.model.space import Value

RUN_BATCH = "renkei/run-batch/1"
"""The kind of an envelope that holds a `RunBatch`."""
CANCEL_BATCH = "renkei/cancel-batch/1"
"""The kind of an envelope that holds a `CancelBatch`."""

PASS = "renkei/pass/1"  # noqa: S105 - no password
"""The kind of an envelope that holds a `Pass`."""


class RunRequest(msgspec.Struct, frozen=True, gc=False):
    """A campaign asks for one run of a procedure.

    Args:
        run: UUIDv7, minted by the campaign: the idempotency key, for ever.
        team: Whose allocation pays.
        campaign: The campaign's name.
        trial: The trial that the run is for.
        procedure: The procedure's name.
        version: The procedure's version; "" means the one that the site offers.
        parameters: In the procedure's units.
        purpose: What for, as the agreement's rules name it: "open-research".
        release: How the results may be released: "open".
    """

    run: str
    team: str
    campaign: str
    trial: str
    procedure: str
    version: str
    parameters: dict[str, Value]
    purpose: str = "open-research"
    release: str = "open"

    @property
    def digest(self) -> str:
        """SHA-256, hex, of the request as JSON: the same run with another digest is a conflict."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


class RunBatch(msgspec.Struct, frozen=True):
    """Requests that one signature covers.

    Args:
        audience: The site that it is for, and no other.
        institution: Who signs.
        issued_at: Seconds since 1970 UTC; a site takes only recent ones.
        requests: At least one.
    """

    audience: str
    institution: str
    issued_at: float
    requests: tuple[RunRequest, ...]


class CancelBatch(msgspec.Struct, frozen=True):
    """Runs that shall not go on; `by` says who wants it."""

    audience: str
    institution: str
    issued_at: float
    runs: tuple[str, ...]
    by: str = ""


class Pass(msgspec.Struct, frozen=True):
    """Says who asks, for what is only read: shown with a request, and good for as long as a batch is fresh."""

    audience: str
    institution: str
    issued_at: float


class Offer(msgspec.Struct, frozen=True):
    """A procedure as a site offers it to a team.

    Args:
        spec: `ProcedureSpec.to_json()`.
        charge_unit: The allocation unit that it is charged in.
        per_run: Charge a run.
        per_hour: Charge an hour of run time.
        time_limit_s: The longest that a run may take.
        slots: How many runs the site works on at the same time.
    """

    spec: dict[str, object]
    charge_unit: str
    per_run: float
    per_hour: float
    time_limit_s: float
    slots: int


class Description(msgspec.Struct, frozen=True):
    """What a site tells a team: what it offers, and what is left of the team's allocation by unit.

    Args:
        site: The site's name.
        institution: Whose site.
        key: The public key that its checkpoints are signed with.
        offers: Every procedure.
        available: What the team may still reserve, by unit.
    """

    site: str
    institution: str
    key: str
    offers: tuple[Offer, ...]
    available: dict[str, float]


Reports = Sequence[bytes]
"""Records of a site about runs, as their bytes lie in its ledger."""
