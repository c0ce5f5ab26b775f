"""The audit of a campaign: every ledger by itself, and what campaigns say about sites against sites' ledgers."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from renkei.accounts import Books
from renkei.campaign import Status, TrialRuns, Trials
from renkei.errors import RenkeiError
from renkei.ledger import LedgerReader, Projection, verify
from renkei.ledger.merkle import HASH_BYTES, root_of
from renkei.model.records import CampaignOpened
from renkei.report._claims import Claims, check_claims, collect_claims, leaves_of
from renkei.report._view import CampaignView
from renkei.site import Runs
from renkei.trust.keys import PublicKey
from renkei.trust.note import parse_checkpoint

PROBLEMS_MAX = 20
"""How many problems of one ledger are told in full; of the rest only the number."""


@dataclass(slots=True)
class LedgerAudit:
    """What the audit found about one ledger.

    Args:
        owner: Whose ledger: "campaign/NAME" or "site/NAME".
        path: The file; None when it is not in this home.
        records: How many records it has.
        checkpoints: How many of its signed checkpoints held.
        covered: How many records, from the first, they cover.
        root: The Merkle root over all records, hex.
        n_reports: How many records of sites a campaign's ledger repeats.
        n_seen: How many checkpoints of sites a campaign's ledger keeps.
        problems: Everything that is wrong, each in one sentence that says where.
    """

    owner: str
    path: Path | None
    records: int = 0
    checkpoints: int = 0
    covered: int = 0
    root: str = ""
    n_reports: int = 0
    n_seen: int = 0
    problems: list[str] = field(default_factory=list[str])

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def audit_campaign(view: CampaignView) -> list[LedgerAudit]:
    """Check the ledgers of a campaign, its baselines and its sites, in this order.

    Each by itself: `renkei.ledger.verify` with the key that the agreement has for the institution, and the saved
    tables against freshly folded ones. Against each other: every record of a site that a campaign repeats is, byte for
    byte, the one that the site's ledger has under that number; every checkpoint of a site that a campaign kept bears
    the signatures of the site's institution, and its root is that of the site's records up to there. What cannot be
    checked, because a ledger or the agreement is not there, counts as a problem.

    Campaigns are read first: what a campaign heard was durable at the site before, so that a campaign may go on
    meanwhile.
    """
    claims: dict[str, Claims] = {site.name: Claims() for site in view.sites}
    campaigns = [_campaign(view, owner, path, claims) for owner, path in view.campaign_ledgers]
    if view.history.size:
        campaigns[0].problems += _terms_problems(view)
    sites = [_site(view, name, claims[name]) for name in claims]
    for audit in (*campaigns, *sites):
        if (n_more := len(audit.problems) - PROBLEMS_MAX) > 0:
            audit.problems[PROBLEMS_MAX:] = [f"and {n_more} more"]
    return [*campaigns, *sites]


def _campaign(view: CampaignView, owner: str, path: Path, claims: dict[str, Claims]) -> LedgerAudit:
    audit = LedgerAudit(owner, path)
    institution = _opened_by(path)
    key = _key(view, institution, audit) if institution else None
    if _by_itself(audit, key, [Trials(), TrialRuns(), Status()]):
        audit.n_reports, audit.n_seen = collect_claims(path, audit.problems, claims)
    if not institution and audit.records:
        audit.problems.append("it does not begin with who opened the campaign, so that nobody vouches for its key")
    return audit


def _opened_by(path: Path) -> str:
    """Return the institution that opened a campaign; empty for a ledger without records, or that begins otherwise."""
    try:
        with LedgerReader(path) as ledger:
            first = next(ledger.records(), None)
    except (RenkeiError, sqlite3.Error):  # what is wrong is found by verifying it
        return ""
    return first.body.institution if first is not None and isinstance(first.body, CampaignOpened) else ""


def _site(view: CampaignView, name: str, claims: Claims) -> LedgerAudit:
    site = {site.name: site for site in view.sites}.get(name)
    audit = LedgerAudit(f"site/{name}", site.ledger if site else None)
    key = _key(view, site.institution if site else "", audit)
    if site is not None and site.witness is not None:
        _by_witness(audit, name, site.witness, claims, key)
    elif audit.path is None:
        audit.problems.append(f"it could not be checked: {site.problem if site else 'no run was asked for there'}")
        check_claims(name, claims, None, key)
    else:
        is_readable = _by_itself(audit, key, [Runs(), Books()])
        check_claims(name, claims, leaves_of(audit.path) if is_readable else None, key)
    return audit


def _by_witness(audit: LedgerAudit, name: str, witness: Path, claims: Claims, key: PublicKey | None) -> None:
    """Check a site elsewhere by its leaf hashes: their roots must be those that it signed, at every size seen."""
    data = witness.read_bytes()
    if len(data) % HASH_BYTES:
        audit.problems.append(f"{witness} is not a row of hashes")
        return
    leaves = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
    problems_before = {id(note): len(note.problems) for note in claims.notes}
    check_claims(name, claims, leaves, key)
    audit.records, audit.root = len(leaves), root_of(leaves).hex()
    good = [note for note in claims.notes if len(note.problems) == problems_before[id(note)]]
    audit.checkpoints = len(good)
    audit.covered = max((parse_checkpoint(note.text).size for note in good), default=0)
    if audit.covered < audit.records:
        audit.problems.append(f"no signed checkpoint covers its last {audit.records - audit.covered} records")


def _key(view: CampaignView, institution: str, audit: LedgerAudit) -> PublicKey | None:
    """Return the key that an institution's checkpoints must be signed with."""
    known = view.agreement.institutions.get(institution) if view.agreement else None
    if known is None:
        why = view.agreement_problem or f"the agreement has no '{institution}'"
        audit.problems.append(f"nobody vouches for the key that signed it: {why}")
        return None
    return PublicKey.parse(known.key)


def _by_itself(audit: LedgerAudit, key: PublicKey | None, projections: Sequence[Projection]) -> bool:
    """Check one ledger; return whether it can be read at all."""
    assert audit.path is not None
    try:
        found = verify(audit.path, key, projections)
    except RenkeiError as error:
        audit.problems.append(error.message)
        return False
    audit.records, audit.checkpoints, audit.covered, audit.root = found[1:5]
    if found.owner != audit.owner:
        audit.problems.append(f"the file says that it is the ledger of {found.owner}")
    if found.problem:
        audit.problems.append(found.problem)
    return True


def _terms_problems(view: CampaignView) -> list[str]:
    """Return what is wrong with how the campaign came to be: who opened it, and with which definition."""
    problems: list[str] = []
    status = view.status
    if view.agreement and not view.agreement.may_sign_for(status.institution, status.team):
        problems.append(f"the agreement does not have '{status.institution}' in team '{status.team}'")
    if (view.directory / "campaign.toml").read_bytes() != status.text.encode():
        problems.append("campaign.toml is not what the ledger says that the campaign was opened with")
    return problems


def stand_of(path: Path) -> tuple[int, str]:
    """Return how many records a ledger has and the Merkle root over them, from its saved hashes, unverified.

    Raises:
        LedgerError: The file cannot be read as a ledger.
    """
    with LedgerReader(path) as ledger:
        size = ledger.size
        return size, root_of(ledger.leaf_hashes(size)).hex()
