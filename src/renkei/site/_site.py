"""A site: an institution's side of a run, from the signed request to the settled charge.

Read it in the order in which a run happens: `submit` (the gate verifies; the intake checks, decides, reserves, accepts)
→ `_advance` (start, write it down, hand it over) → `_job_ended` (the settlement ends it) → the feeds (report).
"""

import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

import renkei
from renkei.accounts import Books
from renkei.catalog import DatasetStore
from renkei.clock import Clock
from renkei.errors import ExecutorError, UsageError
from renkei.executors import Executor, Job, JobEnd, JobState
from renkei.federation import CancelBatch, Description, Pass, Reports, RunBatch, RunRequest
from renkei.ledger import Ledger
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
    RunEnded,
    RunStarted,
    SiteOpened,
    read_record,
)
from renkei.policy import Policy
from renkei.site._backend import Backend
from renkei.site._feeds import Feeds
from renkei.site._gate import Gate
from renkei.site._intake import Intake
from renkei.site._offer import Offered, offer_of
from renkei.site._runs import RunRow, Runs
from renkei.site._settlement import Settlement
from renkei.site._terms import AgreementSource, AgreementWatch, Amendments, Revocations, Terms, require_place
from renkei.trust.envelope import Envelope
from renkei.trust.keys import Key
from renkei.trust.revocation import Given

SWEEP_S = 2.0
"""How often runs that wait for room are looked at."""
SWEEP_MAX_S = 600.0
"""How often deadlines are looked at, unless one is nearer."""


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
        self.name, self.directory = name, directory
        self._key, self._executor, self._clock = key, executor, clock
        self._offers: Mapping[str, Offered] = {offer.spec.name: offer for offer in offers}
        self._allocations = allocations
        self.runs, self.books, self.backend = Runs(), Books(), Backend()
        self.amendments, self.revocations = Amendments(), Revocations()
        self.watch = None if source is None else AgreementWatch(source, self, clock)
        projections = [self.runs, self.books, self.backend, self.amendments, self.revocations]
        self.ledger = Ledger(directory / "ledger.db", f"site/{name}", key, clock, projections)
        self.datasets = DatasetStore(directory / "datasets")
        self._runs_directory = str(directory / "runs")
        self._queue: deque[str] = deque()  # runs that wait to be started, and some that ended while they waited
        self._launching: set[str] = set()  # runs that were started, but are not yet handed over
        self._stopping: set[str] = set()  # of those, the ones that shall end
        self._is_serving = False
        self._tasks: TaskGroup | None = None
        self._decided: set[str] = set()  # parked runs that a person decided, whose campaign has to be told
        self._terms = Terms(agreement, policy, self.revocations)
        self._gate = Gate(name, self._terms, self.ledger, clock)
        self._intake = Intake(name, self._terms, self._offers, self.runs, self.books, self.ledger, clock, self._queue)
        self._settlement = Settlement(self._offers, self.ledger, self.datasets, clock)
        self._feeds = Feeds(self.ledger, self.runs, self._decided)

    @property
    def agreement(self) -> Agreement:
        """The version of the agreement in force."""
        return self._terms.agreement

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["Site"]:
        """Serve until the end of the block: take up the runs that a stop or a crash left, then run jobs.

        Raises:
            LedgerError: A record could not be kept. What is on disk stands; opening the site again goes on from there.
        """
        try:
            self.amendments.require_none_later(self.agreement)
            await self._recover()
            if self.watch is not None:
                await self.watch.look()
            self._is_serving = True
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve)
                tasks.start_soon(self._sweep)
                tasks.start_soon(self.ledger.failed)
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
        batch = await self._gate.open(envelope, RunBatch)
        received = self.ledger.append(
            BatchReceived(envelope.kind, envelope.signer, envelope.payload.decode(), envelope.signature)
        )
        return await self._take(batch.requests, batch.institution, received.seq)

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
        await self._gate.vouch(by, institution)
        payload = msgspec.json.encode(list(requests)).decode()
        entered = self.ledger.append(BatchEntered(by, institution, payload))
        return await self._take(requests, institution, entered.seq, is_user=True)

    async def _take(
        self, requests: Sequence[RunRequest], institution: str, batch: int, *, is_user: bool = False
    ) -> Reports:
        """Have requests taken in, and return the record that answers each once all of them are durable."""
        answers = [self._intake.take(request, institution, batch, is_user=is_user) for request in requests]
        await self._advance()
        return [self.ledger.read(answer) if isinstance(answer, int) else answer for answer in answers]

    async def admit(self, envelope: Envelope) -> Pass:
        """Return the pass in an envelope; it is good for `FRESH_S` from when it was issued.

        Raises:
            AgreementError: The pass is forged, stale, for somebody else, or its signer is no member.
        """
        return await self._gate.open(envelope, Pass)

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
            end = JobEnd(row.run, "cancelled", message="cancelled before it started")
            self._settlement.end(row, end, is_unused=True)
        self._stopping.difference_update(row.run for row in starting)
        going = [row for row in live if row.run in self.runs.live]
        failed: list[RunRow] = []
        try:
            await self._executor.submit([self._job(row) for row in going])
        except ExecutorError as error:
            failed = [row for row in going if row.run in self.runs.live]
            for row in failed:
                self._settlement.end(row, JobEnd(row.run, "failed", 0.0, {}, {}, "facility", True, error.message))
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
                end, datasets = await self._clock.blocking(lambda end=end: self._settlement.keep(end))
            row = self.runs.live.get(end.run)
            if row is not None:  # else it was given up at its deadline meanwhile
                self._settlement.end(row, end, datasets)
        await self._advance()

    async def _sweep(self) -> None:
        """End runs that are past their deadline as lost."""
        while True:
            nearest_s = min((row.deadline for row in self.runs.live.values()), default=math.inf) - self._clock.now()
            await self._clock.sleep(SWEEP_S if self._queue else max(SWEEP_S, min(nearest_s, SWEEP_MAX_S)))
            now = self._clock.now()
            late = [row for row in self.runs.live.values() if row.deadline < now]
            for row in late:
                end = JobEnd(row.run, "lost", retryable=True, message="no word of it by its deadline")
                self._settlement.end(row, end)
            if late or self._queue:
                await self._advance()
            for row in late:
                await self._executor.cancel(row.run)

    async def _recover(self) -> None:
        """Write down that the site opened; queue what was accepted, settle what was running."""
        self._gate.recall()
        agreement = self.agreement.digest
        self.ledger.append(SiteOpened(self.name, self._key.name, self._key.public.text, agreement, renkei.__version__))
        self._grant()
        started: list[RunRow] = []
        for row in list(self.runs.live.values()):
            if offer_of(row, self._offers) is None:
                message = f"the site no longer offers '{row.procedure}' {row.version}"
                self._settlement.end(row, JobEnd(row.run, "failed", fault="facility", retryable=True, message=message))
            elif row.state == "accepted":
                self._queue.append(row.run)
            else:
                started.append(row)
        for end in await self._executor.settle([self._job(row) for row in started]):
            self._settlement.end(self.runs.live[end.run], *self._settlement.keep(end))
        await self.ledger.sync()

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
        self._decided.add(run)
        self._intake.decide(row, by, approved, note)
        await self._advance()
        return self.runs.rows[run].state

    async def cancel(self, envelope: Envelope) -> None:
        """See `SiteHandle.cancel`."""
        batch = await self._gate.open(envelope, CancelBatch)
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
            self._intake.refuse(row, "cancelled", Reason("run.cancelled", f"cancelled by {by}"))
        elif row.state == "accepted":
            self._settlement.end(row, JobEnd(run, "cancelled", message=f"cancelled by {by} before it started"))
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
        self._terms.amend(agreement, policy)  # in one step with the record: no request comes between
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

    def follow(self, team: str, campaign: str) -> AbstractAsyncContextManager[AsyncIterator[Reports]]:
        """See `SiteHandle.follow`."""
        return self._feeds.follow(team, campaign)

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
        return self._feeds.history(team, campaign, since)

    async def checkpoint(self) -> str:
        """See `SiteHandle.checkpoint`."""
        return await self.ledger.checkpoint()

    async def inclusion(self, seq: int, size: int) -> list[bytes]:
        """See `SiteHandle.inclusion`."""
        return inclusion_proof(self.ledger.leaf_hashes(size), seq, size)

    async def leaves(self, size: int) -> bytes:
        """See `SiteHandle.leaves`."""
        return await self._clock.blocking(lambda: b"".join(self.ledger.leaf_hashes(size)))
