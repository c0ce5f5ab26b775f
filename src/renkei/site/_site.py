"""A site: an institution's side of a run, from the signed request to the settled charge.

Read it in the order in which a run happens: `submit` (verify, check, decide, reserve, accept) → `_advance` (start,
write it down, hand it over) → `_job_ended` (settle) → `_publish` (report).
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

import renkei
from renkei.accounts import Books
from renkei.catalog import DatasetStore
from renkei.clock import Clock
from renkei.errors import AgreementError, Denied, ExecutorError, Expired, UsageError
from renkei.executors import Executor, Job, JobEnd, JobState
from renkei.federation import (
    CANCEL_BATCH,
    PASS,
    RUN_BATCH,
    CancelBatch,
    Description,
    Pass,
    Reports,
    RunBatch,
    RunRequest,
)
from renkei.ids import is_id
from renkei.ledger import Appended, Ledger
from renkei.ledger.merkle import inclusion_proof
from renkei.model.agreement import Agreement
from renkei.model.quantity import Quantity
from renkei.model.records import (
    AgreementAmended,
    AllocationGranted,
    BackendChanged,
    BatchEntered,
    BatchReceived,
    CancelAsked,
    Dataset,
    InstitutionRevoked,
    JobRenamed,
    Reason,
    RequestRefused,
    RunAccepted,
    RunDecided,
    RunEnded,
    RunParked,
    RunRefused,
    RunStarted,
    SiteOpened,
    read_record,
)
from renkei.model.space import Point
from renkei.policy import Policy, Question
from renkei.site._backend import Backend
from renkei.site._offer import Offered
from renkei.site._runs import RunRow, Runs
from renkei.site._terms import AgreementSource, AgreementWatch, Amendments, Revocations, require_place
from renkei.trust.envelope import Envelope, unseal
from renkei.trust.keys import Key, PublicKey
from renkei.trust.revocation import Given

FRESH_S = 300.0
"""How far a batch's time of issue may be from the site's clock."""
QUEUE_S = 86_400.0
"""How long an accepted run may wait and work, beyond twice its time limit, until it is given up as lost."""
SWEEP_S = 2.0
"""How often deadlines are looked at."""

_readers = {
    RUN_BATCH: msgspec.json.Decoder(RunBatch).decode,
    CANCEL_BATCH: msgspec.json.Decoder(CancelBatch).decode,
    PASS: msgspec.json.Decoder(Pass).decode,
}


class Site:
    """An institution's site in this process; satisfies `renkei.federation.SiteHandle`.

    Make it, enter `opened`, and it takes requests. All methods belong to the event loop's thread.

    Args:
        name: The site's name in the agreement.
        key: The institution's key; `key.name` is the institution.
        agreement: Who belongs and who may do what.
        policy: The agreement's rules and the site's own policies.
        offers: The procedures on offer.
        allocations: What each team may use, in all; grants follow when this differs from the books.
        executor: What runs jobs.
        directory: Where the ledger, datasets and run directories live.
        clock: Time, randomness, blocking calls.
        source: Where amendments of the agreement and notices of revocation come from; left out, there are none.
    """

    def __init__(
        self,
        name: str,
        key: Key,
        agreement: Agreement,
        policy: Policy,
        offers: Sequence[Offered],
        allocations: Sequence[tuple[str, Quantity]],
        executor: Executor,
        directory: Path,
        clock: Clock,
        *,
        source: AgreementSource | None = None,
    ) -> None:
        self.name, self.agreement, self.directory = name, agreement, directory
        self._key, self._policy, self._executor, self._clock = key, policy, executor, clock
        self._offers: Mapping[str, Offered] = {offer.spec.name: offer for offer in offers}
        self._allocations = allocations
        self.runs, self.books, self.backend = Runs(), Books(), Backend()
        self.amendments, self.revocations = Amendments(), Revocations()
        self.watch = None if source is None else AgreementWatch(source, self, clock)
        projections = [self.runs, self.books, self.backend, self.amendments, self.revocations]
        self.ledger = Ledger(directory / "ledger.db", f"site/{name}", key, clock, projections)
        self.ledger.follow(self._publish)
        self.datasets = DatasetStore(directory / "datasets")
        self._runs_directory = str(directory / "runs")
        self._queue: deque[str] = deque()  # runs that wait to be started, and some that ended while they waited
        self._launching: set[str] = set()  # runs that were started, but are not yet handed over
        self._stopping: set[str] = set()  # of those, the ones that shall end
        self._is_serving = False
        self._tasks: TaskGroup | None = None
        self._decided: set[str] = set()  # parked runs that a person decided, whose campaign has to be told
        self._feeds: dict[tuple[str, str], list[_Feed]] = defaultdict(list)  # by team and campaign
        self._batches: dict[bytes, float] = {}  # when each recent batch came, by the digest of its signature

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["Site"]:
        """Serve until the end of the block: take up the runs that a stop or a crash left, then run jobs."""
        try:
            self.amendments.require_none_later(self.agreement)
            await self._recover()
            if self.watch is not None:
                await self.watch.look()
            self._is_serving = True
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve)
                tasks.start_soon(self._sweep)
                if self.watch is not None:
                    tasks.start_soon(self.watch.run)
                self._tasks = tasks
                await self._advance()
                yield self
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.ledger.close()

    # ---- a run comes in --------------------------------------------------------------------------------------

    async def submit(self, envelope: Envelope) -> Reports:
        """See `SiteHandle.submit`."""
        batch = await self._open(envelope, RUN_BATCH)
        received = self.ledger.append(
            BatchReceived(envelope.kind, envelope.signer, envelope.payload.decode(), envelope.signature)
        )
        answers = [self._take(request, batch.institution, received.seq) for request in batch.requests]
        await self._advance()
        return [self.ledger.read(answer) if isinstance(answer, int) else answer for answer in answers]

    async def enter(self, by: str, institution: str, requests: Sequence[RunRequest]) -> Reports:
        """Take requests of a user whom this site itself knows, in the name of an institution of the agreement.

        The same path as `submit` takes, but that the site vouches for who asks instead of a signature.

        Args:
            by: The user, for the record.
            institution: The institution that asks.
            requests: What is asked for.

        Raises:
            Expired: The agreement is not in its term.
            Denied: The institution is revoked.
        """
        if not self.agreement.is_in_term(self._clock.now()):
            raise Expired(f"The agreement '{self.agreement.name}' is not in its term.")
        try:
            self.revocations.require_standing(institution, self.agreement)
        except Denied as error:
            self.ledger.append(RequestRefused(institution[:100], f"{error.message} (asked by {by[:100]})"))
            await self.ledger.sync()
            raise
        payload = msgspec.json.encode(list(requests)).decode()
        entered = self.ledger.append(BatchEntered(by, institution, payload))
        answers = [self._take(request, institution, entered.seq, is_user=True) for request in requests]
        await self._advance()
        return [self.ledger.read(answer) if isinstance(answer, int) else answer for answer in answers]

    def _take(self, request: RunRequest, institution: str, batch: int, *, is_user: bool = False) -> bytes | int:
        """Check, decide and reserve; return the record made of it, or the number of the last one where it is known."""
        digest = request.digest
        known = self.runs.rows.get(request.run)
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
        decision = self._policy.decide(self._question(request, institution, offer, parameters))
        if decision.effect == "deny":
            return self._refuse(request, digest, batch, "denied", decision.reasons)
        if decision.effect == "ask":
            parked = RunParked(
                request.run, digest, batch, institution, request.team, request.campaign, request.trial,
                request.procedure, offer.spec.version, parameters, decision.reasons,
            )  # fmt: skip
            return self.ledger.append(parked).raw
        return self._accept(request, digest, batch, institution, offer, parameters, decision.reasons)

    def _problems(
        self, request: RunRequest, institution: str, offer: Offered | None, parameters: Point, is_user: bool
    ) -> tuple[str, list[Reason]] | None:
        """Return (code, reasons) of a request that cannot be taken whatever the policy says, or None."""
        if not is_id(request.run):
            return "invalid", [Reason("run.id", f"'{request.run[:60]}' is not a UUIDv7", "site")]
        if not self.agreement.may_sign_for(institution, request.team):
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

    def _accept(
        self,
        request: "RunRequest | RunRow",
        digest: str,
        batch: int,
        institution: str,
        offer: Offered,
        parameters: Point,
        reasons: tuple[Reason, ...],
    ) -> bytes:
        amount = offer.reservation(parameters)
        available = self.books.available(request.team, amount.unit)
        if available.micro < amount.micro:
            text = f"the run reserves {amount}, and team '{request.team}' has {available} left here"
            return self._refuse(request, digest, batch, "allocation", [Reason("allocation", text, "site")])
        accepted = RunAccepted(
            request.run, digest, batch, institution, request.team, request.campaign, request.trial,
            request.procedure, offer.spec.version, parameters, amount.micro, amount.unit,
            self._clock.now() + QUEUE_S + 2 * offer.time_limit_s, reasons,
        )  # fmt: skip
        raw = self.ledger.append(accepted).raw
        self._queue.append(request.run)
        return raw

    def _refuse(
        self, request: "RunRequest | RunRow", digest: str, batch: int, code: str, reasons: Sequence[Reason]
    ) -> bytes:
        refused = RunRefused(
            request.run, digest, batch, request.team, request.campaign, request.trial, request.procedure,
            code, tuple(reasons),
        )  # fmt: skip
        return self.ledger.append(refused).raw

    def _question(self, request: RunRequest, institution: str, offer: Offered, parameters: Point) -> Question:
        amount = offer.reservation(parameters)
        return Question(
            team=request.team,
            institution=institution,
            party=self.agreement.institutions[institution].party,
            site=self.name,
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

    async def _open(self, envelope: Envelope, kind: str) -> RunBatch:
        """Return what is in an envelope that a member of the agreement signed for this site just now."""
        try:
            institution = self.agreement.institutions.get(envelope.signer)
            if institution is None:
                raise Denied(f"'{envelope.signer[:60]}' is not an institution of the agreement.")
            now = self._clock.now()
            if not self.agreement.is_in_term(now):
                raise Expired(f"The agreement '{self.agreement.name}' is not in its term.")
            self.revocations.require_standing(envelope.signer, self.agreement)
            payload = unseal(envelope, PublicKey.parse(institution.key), kind)
            try:
                payload.decode()  # all of it, since it is kept as text; what is read of it may be only a part
                batch = _readers[kind](payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Denied(f"The batch is not readable: {error}.") from error
            if batch.audience != self.name:
                raise Denied(f"The batch is for '{batch.audience[:60]}', not for '{self.name}'.")
            if batch.institution != envelope.signer:
                raise Denied(f"The batch speaks for '{batch.institution[:60]}', but '{envelope.signer}' signed it.")
            if abs(now - batch.issued_at) > FRESH_S:
                raise Expired("The batch was issued too long ago, or in the future.", "Check the clocks.")
            if kind != PASS and self._is_replay(envelope.signature, now):
                raise Denied("The batch came before: it is not taken twice.", "Sign the requests anew.")
        except AgreementError as error:
            self.ledger.append(RequestRefused(envelope.signer[:100], error.message))
            await self.ledger.sync()
            raise
        return batch  # type: ignore[return-value]

    def _is_replay(self, signature: bytes, now: float) -> bool:
        """Return whether a batch with this signature came before, and remember it for as long as it is fresh."""
        digest = hashlib.sha256(signature).digest()
        if digest in self._batches:
            return True
        self._batches[digest] = now
        while (oldest := next(iter(self._batches))) and self._batches[oldest] < now - 2 * FRESH_S:
            del self._batches[oldest]
        return False

    async def admit(self, envelope: Envelope) -> Pass:
        """Return the pass in an envelope; it is good for `FRESH_S` from when it was issued.

        Raises:
            AgreementError: The pass is forged, stale, for somebody else, or its signer is no member.
        """
        shown: Pass = await self._open(envelope, PASS)  # type: ignore[assignment]
        return shown

    # ---- it runs ---------------------------------------------------------------------------------------------

    async def _advance(self) -> None:
        """Start what can start, make everything so far durable, then hand over what was started.

        Who calls it may be cancelled meanwhile, but not this: the runs that it starts may be anybody's.
        """
        starting: list[RunRow] = []
        rooms: dict[str, int] = {}
        while self._queue:
            row = self.runs.rows[self._queue[0]]
            if row.state != "accepted":
                self._queue.popleft()
                continue
            if row.procedure not in rooms:
                rooms[row.procedure] = self._executor.room(row.procedure) - len(self._launching)
            if rooms[row.procedure] <= len(starting):
                break
            self._queue.popleft()
            self.ledger.append(RunStarted(row.run, self._executor.name))
            starting.append(row)
        self._launching.update(row.run for row in starting)  # so that nobody else gives away their room
        try:
            with anyio.CancelScope(shield=True):
                await self.ledger.sync()
                if starting and self._is_serving:  # else they are settled when the site opens again
                    await self._hand_over(starting)
        finally:
            self._launching.difference_update(row.run for row in starting)

    async def _hand_over(self, starting: Sequence[RunRow]) -> None:
        """Give the executor what was started, but for what was asked to end before it came to that."""
        live = [row for row in starting if row.run in self.runs.live]  # others were given up at their deadline
        stopped = [row for row in live if row.run in self._stopping]
        for row in stopped:
            self._end(row, JobEnd(row.run, "cancelled", message="cancelled before it started"), is_unused=True)
        self._stopping.difference_update(row.run for row in starting)
        going = [row for row in live if row.run in self.runs.live]
        failed: list[RunRow] = []
        try:
            await self._executor.submit([self._job(row) for row in going])
        except ExecutorError as error:
            failed = [row for row in going if row.run in self.runs.live]
            for row in failed:
                self._end(row, JobEnd(row.run, "failed", 0.0, {}, {}, "facility", True, error.message))
        for row in going:
            if row.run in self._stopping:  # asked while the executor was taking it
                self._stopping.discard(row.run)
                await self._executor.cancel(row.run)
        if stopped or failed:
            await self.ledger.sync()

    async def _serve(self) -> None:
        try:
            await self._executor.serve(self._job_ended)
        finally:
            self._is_serving = False

    async def _job_ended(self, ends: Sequence[JobEnd]) -> None:
        for end in ends:
            datasets: tuple[Dataset, ...] = ()
            if end.files:
                end, datasets = await self._clock.blocking(lambda end=end: self._keep(end))
            row = self.runs.live.get(end.run)
            if row is not None:  # else it was given up at its deadline meanwhile
                self._end(row, end, datasets)
        await self._advance()

    def _keep(self, end: JobEnd) -> tuple[JobEnd, tuple[Dataset, ...]]:
        """Keep the files of a run as datasets; a run whose files cannot be kept failed."""
        try:
            return end, tuple(self.datasets.put(Path(path), name) for name, path in end.files.items())
        except OSError as error:
            return _useless(end, f"a file of it cannot be kept: {error}"), ()

    def _end(self, row: RunRow, end: JobEnd, datasets: tuple[Dataset, ...] = (), *, is_unused: bool = False) -> None:
        """Write down how a run ended and settle its charge, in one record."""
        offer = self._offer(row)
        if offer is not None:
            end = offer.judged(end)
        if end.outcome == "succeeded" and offer is not None and (problem := offer.problem(end.outputs)):
            end, datasets = _useless(end, problem), ()
        is_free = is_unused or end.outcome == "lost" or end.fault == "facility"
        is_charged = row.state == "started" and not is_free
        charge = offer.charge(end.seconds, row.micro, row.parameters) if is_charged and offer is not None else 0
        ended = RunEnded(
            run=row.run,
            outcome=end.outcome,
            team=row.team,
            reserved=row.micro,
            charge=charge,
            unit=row.unit,
            queue_s=round(max(0.0, (row.started_at or self._clock.now()) - row.at) + end.queued_s, 6),
            run_s=round(end.seconds, 6),
            outputs=end.outputs,
            datasets=datasets,
            fault=end.fault,
            retryable=end.retryable,
            message=end.message,
            evidence=end.evidence,
        )
        self.ledger.append(ended)

    async def _sweep(self) -> None:
        """End runs that are past their deadline as lost."""
        while True:
            await self._clock.sleep(SWEEP_S)
            now = self._clock.now()
            late = [row for row in self.runs.live.values() if row.deadline < now]
            for row in late:
                self._end(row, JobEnd(row.run, "lost", retryable=True, message="no word of it by its deadline"))
            if late or self._queue:
                await self._advance()
            for row in late:
                await self._executor.cancel(row.run)

    async def _recover(self) -> None:
        """Write down that the site opened; queue what was accepted, settle what was running."""
        self._remember_batches()
        agreement = self.agreement.digest
        self.ledger.append(SiteOpened(self.name, self._key.name, self._key.public.text, agreement, renkei.__version__))
        self._grant()
        started: list[RunRow] = []
        for row in list(self.runs.live.values()):
            if self._offer(row) is None:
                message = f"the site no longer offers '{row.procedure}' {row.version}"
                self._end(row, JobEnd(row.run, "failed", fault="facility", retryable=True, message=message))
            elif row.state == "accepted":
                self._queue.append(row.run)
            else:
                started.append(row)
        for end in await self._executor.settle([self._job(row) for row in started]):
            self._end(self.runs.live[end.run], *self._keep(end))
        await self.ledger.sync()

    def _remember_batches(self) -> None:
        """Take up which batches came so recently that they would still be fresh."""
        since, n = self._clock.now() - 2 * FRESH_S, 1024
        while n < self.ledger.size and read_record(self.ledger.read(self.ledger.size - n)).at >= since:
            n *= 4
        for raw in self.ledger.read_from(self.ledger.size - n):
            if b'"kind":"batch.received"' in raw[:100]:
                record = read_record(raw)
                self._batches[hashlib.sha256(record.body.signature).digest()] = record.at

    def _grant(self) -> None:
        """Bring the books to what the site's file says that teams may use; spent and reserved stay as they are."""
        wanted = {(row.team, row.unit): 0 for row in self.books.rows.values()}
        wanted |= {(team, amount.unit): amount.micro for team, amount in self._allocations}
        for (team, unit), micro in wanted.items():
            row = self.books.rows.get(f"{team} {unit}")
            granted, available = (-row.granted, row.available) if row else (0, 0)
            more = max(micro - granted, -available)
            if more:
                self.ledger.append(AllocationGranted(team, more, unit, "site file"))

    def _offer(self, row: RunRow) -> Offered | None:
        """Return what a run was accepted for, if that is still on offer."""
        offer = self._offers.get(row.procedure)
        return offer if offer is not None and offer.spec.version == row.version else None

    def _job(self, row: RunRow) -> Job:
        return self._offers[row.procedure].job(row.run, row.parameters, f"{self._runs_directory}/{row.run}")

    # ---- people decide ---------------------------------------------------------------------------------------

    async def decide(self, run: str, by: str, approved: bool, note: str = "") -> str:
        """Approve or deny a parked run, in the name of a person; return the state that it then has.

        Raises:
            UsageError: There is no such run, or it is not waiting for anybody.
        """
        row = self.runs.rows.get(run)
        if row is None or row.state != "parked":
            state = "unknown here" if row is None else row.state
            raise UsageError(f"Run {run} is {state}, not waiting for approval.", "List runs with: renkei run list")
        self.ledger.append(RunDecided(run, by, approved, note))
        self._decided.add(run)
        verb = "approved" if approved else "denied"
        reason = Reason(f"person.{verb}", f"{verb} by {by}" + (f": {note}" if note else ""), "site")
        offer = self._offer(row)
        if not approved:
            self._refuse(row, row.request, row.batch, "denied", [reason])
        elif why := self._lost_standing(row):
            self._refuse(row, row.request, row.batch, "denied", [reason, why])
        elif offer is None:
            gone = Reason("procedure.unknown", f"this site no longer offers '{row.procedure}' {row.version}", "site")
            self._refuse(row, row.request, row.batch, "invalid", [reason, gone])
        else:
            self._accept(row, row.request, row.batch, row.institution, offer, row.parameters, (reason,))
        await self._advance()
        return self.runs.rows[run].state

    def _lost_standing(self, row: RunRow) -> Reason | None:
        """Return why who asked for a run may no longer ask for it, or None."""
        if why := self.revocations.against(row.institution, self.agreement):
            return Reason("agreement.revoked", why, "agreement")
        if not self.agreement.may_sign_for(row.institution, row.team):
            text = f"'{row.institution}' is no longer an institution of team '{row.team}'"
            return Reason("agreement.team", text, "agreement")
        return None

    async def cancel(self, envelope: Envelope) -> None:
        """See `SiteHandle.cancel`."""
        batch: CancelBatch = await self._open(envelope, CANCEL_BATCH)  # type: ignore[assignment]
        for run in batch.runs:
            row = self.runs.rows.get(run)
            if row is not None and self.agreement.may_sign_for(batch.institution, row.team):
                await self._cancel(row, batch.by or batch.institution)
        await self._advance()

    async def cancel_run(self, run: str, by: str) -> None:
        """Cancel one run, in the name of whoever asks: at once if it waits, through its executor if it runs."""
        row = self.runs.rows.get(run)
        if row is not None:
            await self._cancel(row, by)
        await self._advance()

    async def _cancel(self, row: RunRow, by: str) -> None:
        run = row.run
        if row.state not in ("accepted", "started", "parked"):
            return
        self.ledger.append(CancelAsked(run, by))
        if row.state == "parked":
            self._decided.add(run)
            self._refuse(row, row.request, row.batch, "cancelled", [Reason("run.cancelled", f"cancelled by {by}")])
        elif row.state == "accepted":
            self._end(row, JobEnd(run, "cancelled", message=f"cancelled by {by} before it started"))
        elif run in self._launching:
            self._stopping.add(run)
        else:
            await self._executor.cancel(run)

    # ---- the agreement changes -------------------------------------------------------------------------------

    async def amend(self, agreement: Agreement, policy: Policy) -> None:
        """Work under the next version of the agreement from now on; runs that were accepted before go on.

        Args:
            agreement: The next version, which `renkei.trust.endorsement.require_succession` found right.
            policy: Its rules and the site's own policies, checked against its names.
        """
        signed = tuple(dict.fromkeys((*self.agreement.parties, *agreement.parties)))
        self.ledger.append(AgreementAmended(agreement.version, agreement.digest, agreement.previous, signed))
        self.agreement, self._policy = agreement, policy  # in one step with the record: no request comes between
        await self.ledger.sync()

    async def take_notice(self, given: Given) -> None:
        """Refuse from now on what an institution or key signs that a party revoked; runs that were accepted go on."""
        if given.digest in self.revocations.rows:
            return
        notice = given.notice
        self.ledger.append(
            InstitutionRevoked(
                given.digest, notice.institution, notice.key, given.by, notice.since, notice.reason, notice.version
            )
        )
        await self.ledger.sync()

    def require_place_in(self, agreement: Agreement) -> None:
        """Refuse an agreement that this site cannot work under.

        Raises:
            RenkeiError: It does not have the site, or has it with another institution or key.
        """
        require_place(agreement, self.name, self._key.name, self._key.public)

    # ---- everybody learns ------------------------------------------------------------------------------------

    async def describe(self, team: str) -> Description:
        """See `SiteHandle.describe`."""
        available = {row.unit: Quantity(row.available, row.unit).value for row in self.books.rows.values()
                     if row.team == team}  # fmt: skip
        slots = self._executor.slots
        offers = tuple(offer.describe(slots) for offer in self._offers.values() if not offer.is_for_users)
        return Description(self.name, self._key.name, self._key.public.text, offers, available)

    def look(self, run: str) -> JobState | None:
        """Return where the job of a run stands in its engine; None where the engine does not have it."""
        return self._executor.look(run)

    @property
    def executor(self) -> str:
        """The name of the engine that runs jobs."""
        return self._executor.name

    async def rename_job(self, run: str, by: str, name: str) -> None:
        """Give a job that is known here another name, in the name of a user."""
        self.ledger.append(JobRenamed(run, by, name))
        await self.ledger.sync()

    def check_soon(self) -> None:
        """Have the engine asked whether it can run jobs, while the caller goes on."""
        if self._tasks is not None and self._is_serving:
            self._tasks.start_soon(self.check_backend)

    async def check_backend(self) -> None:
        """Ask the engine whether it can run jobs, and write down when the answer is another than the time before."""
        try:
            problems = tuple(await self._executor.check())
        except Exception as error:  # noqa: BLE001 - an engine that fails at this must not take the site with it
            problems = (f"It cannot be asked: {error}",)
        if self.backend.is_up is (not problems):
            return
        self.ledger.append(BackendChanged(self._executor.name, not problems, problems))
        await self.ledger.sync()

    async def find(self, runs: Sequence[str]) -> list[bytes | None]:
        """See `SiteHandle.find`."""
        rows = [self.runs.rows.get(run) for run in runs]
        last = [None if row is None else row.said for row in rows]  # now: what comes meanwhile is not durable yet
        await self.ledger.sync()
        return [None if seq is None else self.ledger.read(seq) for seq in last]

    @asynccontextmanager
    async def follow(self, team: str, campaign: str) -> AsyncGenerator[AsyncIterator[Reports]]:
        """See `SiteHandle.follow`."""
        feed, key = _Feed(), (team, campaign)
        self._feeds[key].append(feed)
        try:
            yield feed
        finally:
            self._feeds[key].remove(feed)
            if not self._feeds[key]:
                del self._feeds[key]

    def datasets_of(self, run: str) -> tuple[Dataset, ...]:
        """Return the datasets that a run left behind, as far as its end is durable; none of a run not known here."""
        row = self.runs.rows.get(run)
        if row is None or row.said >= self.ledger.durable_size:
            return ()
        body = read_record(self.ledger.read(row.said)).body
        return body.datasets if isinstance(body, RunEnded) else ()

    def history(self, team: str, campaign: str, since: int) -> list[bytes]:
        """Return every durable record from number `since` on that tells where a run of a team's campaign stands.

        It reads the ledger from there to its end, so call it from a thread.
        """
        found: list[bytes] = []
        for raw in self.ledger.read_from(since):
            record = read_record(raw)
            if isinstance(record.body, RunAccepted | RunRefused | RunParked | RunEnded):
                row = self.runs.rows[record.body.run]
                if (row.team, row.campaign) == (team, campaign):
                    found.append(raw)
        return found

    async def checkpoint(self) -> str:
        """See `SiteHandle.checkpoint`."""
        return await self.ledger.checkpoint()

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """See `SiteHandle.inclusion`."""
        return inclusion_proof(self.ledger.leaf_hashes(size), seq, size)

    async def leaves(self, size: int) -> bytes:
        """See `SiteHandle.leaves`."""
        return await self._clock.blocking(lambda: b"".join(self.ledger.leaf_hashes(size)))

    def _publish(self, records: Sequence[Appended]) -> None:
        by_campaign: dict[tuple[str, str], list[bytes]] = {}
        for record in records:
            body = record.body
            if type(body) is RunEnded or (
                isinstance(body, RunAccepted | RunRefused)
                and body.run in self._decided
                and not (isinstance(body, RunRefused) and body.code == "conflict")  # nothing to the run's campaign
            ):
                self._decided.discard(body.run)
                row = self.runs.rows[body.run]
                by_campaign.setdefault((row.team, row.campaign), []).append(record.raw)
        for key, raws in by_campaign.items():
            for feed in self._feeds.get(key, ()):
                feed.put(raws)


class _Feed:
    """Reports on their way to one follower. Waiting for the next ones may be given up and begun again."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._wake = anyio.Event()

    def put(self, raws: Sequence[bytes]) -> None:
        self._waiting += raws
        self._wake.set()

    def __aiter__(self) -> "_Feed":
        return self

    async def __anext__(self) -> Reports:
        while not self._waiting:
            await self._wake.wait()
            self._wake = anyio.Event()
        waiting, self._waiting = self._waiting, []
        return waiting


def _useless(end: JobEnd, message: str) -> JobEnd:
    """Return the end of a run that ended well, but whose results cannot be used."""
    return JobEnd(end.run, "failed", end.seconds, {}, {}, "facility", True, message, end.evidence)
