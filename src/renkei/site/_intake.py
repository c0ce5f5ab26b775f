"""What becomes of a request for a run: checked, decided, reserved for; then accepted, parked or refused."""

from collections import deque
from collections.abc import Mapping, Sequence

from renkei.accounts import Books
from renkei.clock import Clock
from renkei.federation import RunRequest
from renkei.ids import is_id
from renkei.ledger import Ledger
from renkei.model.records import Reason, RunAccepted, RunDecided, RunParked, RunRefused
from renkei.model.space import Point
from renkei.policy import Question
from renkei.site._offer import Offered, offer_of
from renkei.site._runs import RunRow, Runs
from renkei.site._terms import Terms

QUEUE_S = 86_400.0
"""How long an accepted run may wait and work, beyond twice its time limit, until it is given up as lost."""


class Intake:
    """Makes of each request one record in the ledger; it is durable after the ledger's next `sync`.

    Args:
        site: The site's name in the agreement.
        terms: Who belongs and who may do what.
        offers: The procedures on offer, by name.
        runs: The runs that are known here.
        books: What each team has left.
        ledger: Where the records go.
        clock: Time.
        queue: Where runs go that were accepted.
    """

    def __init__(
        self,
        site: str,
        terms: Terms,
        offers: Mapping[str, Offered],
        runs: Runs,
        books: Books,
        ledger: Ledger,
        clock: Clock,
        queue: deque[str],
    ) -> None:
        self._site, self._terms, self._offers, self._runs, self._books = site, terms, offers, runs, books
        self._ledger, self._clock, self._queue = ledger, clock, queue

    def take(self, request: RunRequest, institution: str, batch: int, *, is_user: bool = False) -> bytes | int:
        """Check, decide and reserve.

        Args:
            request: What is asked for.
            institution: Who asks.
            batch: The number of the record that it came with.
            is_user: Whether a user asks whom the site itself knows.

        Returns:
            The record made of it, or, where it is known, the number of the last one about it.
        """
        digest = request.digest
        known = self._runs.rows.get(request.run)
        if known is not None and known.request == digest:
            return known.said
        offer = self._offers.get(request.procedure)
        parameters: Point = {} if offer is None else offer.spec.complete(request.parameters)
        if known is not None:
            refusal = "conflict", [Reason("run.conflict", "this run id was used before for another request", "site")]
        else:
            refusal = self._problems(request, institution, offer, parameters, is_user)
        if refusal is not None or offer is None:
            code, reasons = refusal or ("invalid", [])
            return self._refuse(request, digest, batch, code, reasons)
        decision = self._terms.policy.decide(self._question(request, institution, offer, parameters))
        if decision.effect == "deny":
            return self._refuse(request, digest, batch, "denied", decision.reasons)
        if decision.effect == "ask":
            parked = RunParked(
                request.run, digest, batch, institution, request.team, request.campaign, request.trial,
                request.procedure, offer.spec.version, parameters, decision.reasons,
            )  # fmt: skip
            return self._ledger.append(parked).raw
        return self._accept(request, digest, batch, institution, offer, parameters, decision.reasons)

    def decide(self, row: RunRow, by: str, approved: bool, note: str) -> None:
        """Accept or refuse a parked run as a person wishes, if it still can be accepted."""
        self._ledger.append(RunDecided(row.run, by, approved, note))
        verb = "approved" if approved else "denied"
        reason = Reason(f"person.{verb}", f"{verb} by {by}" + (f": {note}" if note else ""), "site")
        offer = offer_of(row, self._offers)
        if not approved:
            self.refuse(row, "denied", reason)
        elif why := self._terms.lost_standing(row.institution, row.team, self._clock.now()):
            self.refuse(row, "denied", reason, why)
        elif offer is None:
            gone = Reason("procedure.unknown", f"this site no longer offers '{row.procedure}' {row.version}", "site")
            self.refuse(row, "invalid", reason, gone)
        else:
            self._accept(row, row.request, row.batch, row.institution, offer, row.parameters, (reason,))

    def refuse(self, row: RunRow, code: str, *reasons: Reason) -> None:
        """Refuse a parked run."""
        self._refuse(row, row.request, row.batch, code, reasons)

    def _problems(
        self, request: RunRequest, institution: str, offer: Offered | None, parameters: Point, is_user: bool
    ) -> tuple[str, list[Reason]] | None:
        """Return (code, reasons) of a request that cannot be taken whatever the policy says, or None."""
        if not is_id(request.run):
            return "invalid", [Reason("run.id", f"'{request.run[:60]}' is not a UUIDv7", "site")]
        if not self._terms.agreement.may_sign_for(institution, request.team):
            text = f"'{institution}' is not an institution of team '{request.team}'"
            return "denied", [Reason("agreement.team", text, "agreement")]
        if offer is None:
            return "invalid", [Reason("procedure.unknown", f"this site does not offer '{request.procedure}'", "site")]
        if offer.is_for_users and not is_user:
            text = f"'{request.procedure}' is for users whom this site itself knows"
            return "denied", [Reason("procedure.for-users", text, "site")]
        if request.version not in ("", offer.spec.version):
            text = f"this site offers version {offer.spec.version}, not {request.version}"
            return "invalid", [Reason("procedure.version", text, "site")]
        if problems := offer.problems(parameters):
            return "invalid", [Reason("parameters", problem, "site") for problem in problems]
        return None

    def _question(self, request: RunRequest, institution: str, offer: Offered, parameters: Point) -> Question:
        amount = offer.reservation(parameters)
        return Question(
            team=request.team,
            institution=institution,
            party=self._terms.agreement.institutions[institution].party,
            site=self._site,
            campaign=request.campaign,
            procedure=request.procedure,
            version=offer.spec.version,
            kind=offer.spec.kind,
            purpose=request.purpose,
            release=request.release,
            parameters=parameters,
            quantity=amount.value,
            unit=amount.unit,
        )

    def _accept(
        self,
        request: RunRequest | RunRow,
        digest: str,
        batch: int,
        institution: str,
        offer: Offered,
        parameters: Point,
        reasons: tuple[Reason, ...],
    ) -> bytes:
        amount = offer.reservation(parameters)
        available = self._books.available(request.team, amount.unit)
        if available.micro < amount.micro:
            text = f"the run reserves {amount}, and team '{request.team}' has {available} left here"
            return self._refuse(request, digest, batch, "allocation", [Reason("allocation", text, "site")])
        accepted = RunAccepted(
            request.run, digest, batch, institution, request.team, request.campaign, request.trial,
            request.procedure, offer.spec.version, parameters, amount.micro, amount.unit,
            self._clock.now() + QUEUE_S + 2 * offer.time_limit_s, reasons,
        )  # fmt: skip
        raw = self._ledger.append(accepted).raw
        self._queue.append(request.run)
        return raw

    def _refuse(
        self, request: RunRequest | RunRow, digest: str, batch: int, code: str, reasons: Sequence[Reason]
    ) -> bytes:
        refused = RunRefused(
            request.run, digest, batch, request.team, request.campaign, request.trial, request.procedure,
            code, tuple(reasons),
        )  # fmt: skip
        return self._ledger.append(refused).raw
