"""A site's view of the agreement in force: amendments and revocations, as they come and as it recorded them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from renkei.clock import Clock, iso
from renkei.errors import AgreementError, Denied, Expired, RenkeiError
from renkei.ledger import Table
from renkei.model.agreement import Agreement, parse_agreement
from renkei.model.files import read_bytes
from renkei.model.records import AgreementAmended, Body, InstitutionRevoked, Reason
from renkei.policy import Policy
from renkei.trust.endorsement import require_succession, signatures_path
from renkei.trust.keys import PublicKey
from renkei.trust.revocation import Given, read_notices, revocations_path

LOOK_S = 1.0
"""How often a site looks at the agreement's files."""

_log = logging.getLogger("renkei.site")


class AmendmentRow(msgspec.Struct, array_like=True, gc=False):
    """A version of the agreement that came into force here: its number and who signed it."""

    version: int
    previous: str
    signed: tuple[str, ...]


class Amendments(Table[AmendmentRow]):
    """The projection of every amendment that came into force while the site ran, by digest."""

    name = "amendments"
    bodies = (AgreementAmended,)

    def __init__(self) -> None:
        super().__init__(AmendmentRow)

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        if isinstance(body, AgreementAmended):
            self.put(body.agreement, AmendmentRow(body.version, body.previous, body.signed))

    def require_none_later(self, agreement: Agreement) -> None:
        """Refuse to go back to a version of the agreement before one that was in force here.

        Raises:
            AgreementError: A later version was, or another one of the same number.
        """
        last = max((row.version for row in self.rows.values()), default=0)
        if agreement.version < last or (agreement.version == last and agreement.digest not in self.rows):
            raise AgreementError(
                f"Version {last} of agreement '{agreement.name}' was in force here; this is another or older one, "
                f"version {agreement.version}.",
                "Put the latest version there, with its signatures.",
            )


class RevocationRow(msgspec.Struct, array_like=True, gc=False):
    """A notice that the site took in; `version` is that of the agreement that it is about."""

    institution: str
    key: str
    by: str
    since: float
    reason: str
    version: int


class Revocations(Table[RevocationRow]):
    """The projection of every revocation that the site took in, by the digest of its notice."""

    name = "revocations"
    bodies = (InstitutionRevoked,)

    def __init__(self) -> None:
        super().__init__(RevocationRow)

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        if isinstance(body, InstitutionRevoked):
            row = RevocationRow(body.institution, body.key, body.by, body.since, body.reason, body.version)
            self.put(body.notice, row)

    def against(self, institution: str, agreement: Agreement) -> str:
        """Return why an institution of the agreement may ask for nothing any more; "" when it may.

        A revoked key stays revoked. A revoked institution is one again when a later version of the agreement than the
        notice is about names it with another key than the one that was revoked.
        """
        if not self.rows or institution not in agreement.institutions:
            return ""
        key = PublicKey.parse(agreement.institutions[institution].key).id
        for row in self.rows.values():
            if row.key == key or (row.institution == institution and agreement.version <= row.version):
                what = f"'{institution}'" if row.institution else f"The key {row.key} of '{institution}'"
                return f"{what} is revoked since {iso(row.since)} by {row.by}: {row.reason}"
        return ""

    def require_standing(self, institution: str, agreement: Agreement) -> None:
        """Refuse an institution that is revoked.

        Raises:
            Denied: Says since when, by whom and why.
        """
        if why := self.against(institution, agreement):
            raise Denied(why, "A later version of the agreement can name it with a new key.")


class Terms:
    """What a site works under now: the agreement in force, the policy under it, and who was revoked.

    Args:
        agreement: Who belongs and who may do what.
        policy: The agreement's rules and the site's own policies.
        revocations: The notices that the site took in.
    """

    def __init__(self, agreement: Agreement, policy: Policy, revocations: Revocations) -> None:
        self.agreement, self.policy, self._revocations = agreement, policy, revocations

    def amend(self, agreement: Agreement, policy: Policy) -> None:
        """Go over to the next version of the agreement and the policy under it."""
        self.agreement, self.policy = agreement, policy

    def require_term(self, now: float) -> None:
        """Refuse everything outside of the agreement's term.

        Raises:
            Expired: It has not begun, or is over.
        """
        if not self.agreement.is_in_term(now):
            raise Expired(f"The agreement '{self.agreement.name}' is not in its term.")

    def require_standing(self, institution: str) -> None:
        """See `Revocations.require_standing`."""
        self._revocations.require_standing(institution, self.agreement)

    def lost_standing(self, institution: str, team: str, now: float) -> Reason | None:
        """Return why an institution that asked for a run of a team may no longer ask for it, or None."""
        if not self.agreement.is_in_term(now):
            return Reason("agreement.term", f"the agreement '{self.agreement.name}' is not in its term", "agreement")
        if why := self._revocations.against(institution, self.agreement):
            return Reason("agreement.revoked", why, "agreement")
        if not self.agreement.may_sign_for(institution, team):
            text = f"'{institution}' is no longer an institution of team '{team}'"
            return Reason("agreement.team", text, "agreement")
        return None


def require_place(agreement: Agreement, site: str, institution: str, key: PublicKey) -> None:
    """Refuse an agreement that does not have a site at its institution, with its key.

    Raises:
        UsageError: The agreement does not have the site.
        AgreementError: It has the site at another institution, or the institution with another key.
    """
    runs_it = agreement.institution_of_site(site)
    if runs_it != institution:
        raise AgreementError(f"The agreement has site '{site}' at another institution than '{institution}'.")
    if agreement.institutions[runs_it].key != key.text:
        raise AgreementError(
            f"The key here, {key.id}, is not the one that the agreement has for '{institution}'.",
            "Put the right key there and start the site again, or amend the agreement.",
        )


@dataclass(frozen=True, slots=True)
class AgreementSource:
    """Where new versions of a site's agreement come from.

    Args:
        path: The agreement's file; signatures and notices lie beside it.
        policy: Makes the site's policy under a new version; raises `RenkeiError` where the site's own policies do not
            fit it.
    """

    path: Path
    policy: Callable[[Agreement], Policy]


class Bound(Protocol):
    """Who works under an agreement: a site."""

    name: str

    @property
    def agreement(self) -> Agreement:
        """The version in force."""
        ...

    async def amend(self, agreement: Agreement, policy: Policy) -> None:
        """Work under the next version from now on."""
        ...

    async def take_notice(self, given: Given) -> None:
        """Refuse from now on what a notice of revocation is about."""
        ...

    def require_place_in(self, agreement: Agreement) -> None:
        """Raise `RenkeiError` where the site cannot work under an agreement."""
        ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What lies beside each other: a next version that holds, notices that hold, and what does not."""

    amendment: tuple[Agreement, Policy] | None
    notices: list[Given]
    problems: list[str]


Stamp = tuple[int, int] | None


class AgreementWatch:
    """Looks at the files of an agreement again and again and has a site take up what is new in them.

    Whatever does not hold changes nothing, and is told once in the log. A next version is told from a half-written
    one by its signatures.

    Args:
        source: Where the files lie.
        site: Who works under the agreement.
        clock: Waiting, blocking calls.
    """

    def __init__(self, source: AgreementSource, site: Bound, clock: Clock) -> None:
        self._source, self._site, self._clock = source, site, clock
        self._seen: tuple[Stamp, ...] = ()
        self._told: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look every `LOOK_S`, for ever."""
        while True:
            await self._clock.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Take up what changed since the last look: notices first, then one version after another."""
        stamps = await self._clock.blocking(self._stamps, is_brief=True)
        while stamps != self._seen:
            found = await self._clock.blocking(self._read)
            for given in found.notices:
                await self._site.take_notice(given)
            if found.amendment is None:
                self._seen = stamps
                self._tell(found.problems)
            else:
                await self._site.amend(*found.amendment)
                version, digest = found.amendment[0].version, found.amendment[0].digest
                _log.info("%s: version %d of the agreement is in force: %s", self._site.name, version, digest)

    def _tell(self, problems: list[str]) -> None:
        for problem in problems:
            if problem not in self._told:
                _log.warning("%s: %s", self._site.name, problem)
        self._told = frozenset(problems)

    def _stamps(self) -> tuple[Stamp, ...]:
        path = self._source.path
        return tuple(_stamp(each) for each in (path, signatures_path(path), revocations_path(path)))

    def _read(self) -> _Found:
        """Read the files; belongs to a thread, so it only looks."""
        path, present = self._source.path, self._site.agreement
        notices: list[Given] = []
        problems: list[str] = []
        amendment = None
        try:
            notices, problems = read_notices(present, path)
        except RenkeiError as error:
            problems.append(str(error))
        try:
            agreement = parse_agreement(read_bytes(path), str(path))
            if agreement.digest != present.digest:
                require_succession(present, agreement, path)
                self._site.require_place_in(agreement)
                amendment = agreement, self._source.policy(agreement)
        except RenkeiError as error:
            problems.append(f"version {present.version} of the agreement stays in force: {error}")
        return _Found(amendment, notices, problems)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
