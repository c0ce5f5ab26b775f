"""The closed loop: a campaign over sites, asynchronous, and safe to kill at any instant.

One task drives: it takes in what sites reported, proposes and requests what there is room for, makes that durable,
and only then lets it leave. Everything it must know after a crash is in the ledger before it acts.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from renkei.campaign._campaign import Campaign
from renkei.campaign._routes import Routes
from renkei.campaign._spending import Spending
from renkei.campaign._state import RunRow, TrialRow
from renkei.errors import AgreementError, PlanningError, RemoteError, Replayed, Unreachable
from renkei.federation import (
    CANCEL_BATCH,
    RUN_BATCH,
    CancelBatch,
    Description,
    Reports,
    Route,
    RunBatch,
    RunRequest,
    SiteHandle,
)
from renkei.model.records import CheckpointSeen, RunGivenUp, RunReported, RunRequested, RunWithdrawn, read_record
from renkei.model.space import Point
from renkei.trust.envelope import seal

TICK_S = 0.5
"""How often sites that were left alone are looked at, and records made durable that nothing waits for."""
RETRY_S = 1.0
"""How long to wait before a site that could not be reached is asked again."""
QUICK_PLANNERS = frozenset({"sobol", "random"})
"""Planners that propose in microseconds: asked in the event loop, where a thread would cost more."""
REFUSED_S = 60.0
"""How long to wait before a site is asked again that refused to answer."""
REFUSED_MAX = 10
"""After so many refusals in a row a site is taken at its word: what became of the runs there cannot be known."""
BATCH_MAX = 500
"""How many requests one signature covers at most."""

_NO_NEWS = {"run.accepted": ("accepted",), "run.parked": ("accepted", "parked")}


class Runner:
    """Drives one campaign over sites until a stopping rule holds.

    Args:
        campaign: What to drive.
        sites: Handles by name.
        descriptions: What sites offer, by name. One that is missing is silent: it takes part once it answers.
        on_change: Called after each round of work, for displays.

    Attributes:
        routes: Every way to run its trials.

    Raises:
        ConfigError: The campaign does not fit what is on offer.
        UsageError: Nobody can ask about one of its open runs.
    """

    def __init__(
        self,
        campaign: Campaign,
        sites: Mapping[str, SiteHandle],
        descriptions: Mapping[str, Description],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.campaign, self.sites, self._on_change = campaign, sites, on_change
        self.routes = Routes(campaign.file, sites, descriptions, campaign.clock)
        self._inbox: list[tuple[str, Reports]] = []  # by site: each speaks of its own runs alone
        self._wake, self._ticks = anyio.Event(), anyio.Event()
        self._waiting: list[TrialRow] = []  # trials to be sent: new ones, and those whose last run gave nothing
        self.spending = Spending({limit.unit: limit.micro for limit in campaign.file.stop.cost})
        self._is_asking = False
        self._had_no_point_at = -1  # how many trials had ended when the planner was last asked and had too few points
        self._over: tuple[str, str] | None = None
        self._stop_asked = ""
        self._cancelled: set[str] = set()
        for row in campaign.runs.rows.values():
            if row.run in campaign.runs.open:
                route = self.routes.of_run(row, campaign.trials.rows[row.trial].source)
                route.in_flight += 1
                self.spending.hold(row.run, route, row.micro)
            else:
                self.spending.charge(row)
        for trial in campaign.trials.rows.values():
            self._celebrate(trial)

    def stop(self, why: str) -> None:
        """Ask for an end: nothing new is sent, what runs is cancelled, and the campaign ends as stopped."""
        self._stop_asked = why
        self._wake.set()

    async def run(self) -> tuple[str, str]:
        """Drive the campaign to its end; return its state and why.

        Raises:
            LedgerError: A record could not be kept. Resuming goes on from what is on disk.
        """
        campaign = self.campaign
        campaign.take_up()
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            for name, site in self.sites.items():
                stream = await stack.enter_async_context(site.follow(campaign.file.team, campaign.name))
                tasks.start_soon(self._listen, name, stream)
                tasks.start_soon(self._find, name, [r.run for r in campaign.runs.open.values() if r.site == name])
            for name in self.routes.absent:
                tasks.start_soon(self._admit, name)
            tasks.start_soon(self._tick)
            if (wall_s := campaign.file.stop.wall_s) is not None:
                tasks.start_soon(self._end_in_time, wall_s)
            open_trials = {row.trial for row in campaign.runs.open.values()}
            self._waiting = [t for t in campaign.trials.pending.values() if t.trial not in open_trials]
            while True:
                n_open = len(campaign.runs.open)
                self._take_in()
                has_news = len(campaign.runs.open) < n_open  # that a run was accepted may wait for the next commit
                self._judge(tasks)
                is_sending = False
                if self._over is None:
                    self._plan(tasks)
                    is_sending = self._send(tasks)
                if has_news or is_sending or self._over is not None:
                    await campaign.sync(meanwhile=is_sending)
                self._on_change()
                if self._over is not None and not campaign.runs.open and not self._is_asking:
                    break
                if not self._inbox:
                    if self._may_change_by_itself():
                        self._ticks.set()
                    await self._wake.wait()
                self._wake = anyio.Event()
            tasks.cancel_scope.cancel()
        assert self._over is not None
        state, why = self._over
        for name in sorted({row.site for row in campaign.runs.rows.values()} & self.sites.keys()):
            try:
                note = await self.sites[name].checkpoint()
            except (Unreachable, AgreementError, RemoteError):
                continue  # nothing hangs on it: every record that it sent is here
            campaign.ledger.append(CheckpointSeen(name, note))
        campaign.end(state, why)
        await campaign.ledger.checkpoint()
        return state, why

    async def _admit(self, name: str) -> None:
        """Have a silent site take part once it says what it offers."""
        for old, new in await self.routes.admit(name, self.campaign.file.team):
            self.spending.reroute(old, new)
        self._wake.set()

    # ---- what goes out ---------------------------------------------------------------------------------------

    def _plan(self, tasks: TaskGroup) -> None:
        """Have points proposed where there is room for them."""
        file, campaign = self.campaign.file, self.campaign
        n = file.planner.parallel - len(campaign.trials.pending)
        if file.stop.trials is not None:
            n = min(n, file.stop.trials - len(campaign.trials.rows) - campaign.owes_confirmation)
        if campaign.is_confirming:
            n = 1 if campaign.owes_confirmation and not campaign.trials.pending else 0
        if n <= 0 or self._is_asking or self._has_no_point:
            return
        if file.planner.name in QUICK_PLANNERS:
            self._proposed(n, self.campaign.question(n)(), self._n_ended)
        else:
            self._is_asking = True
            tasks.start_soon(self._ask, n)

    async def _ask(self, n: int) -> None:
        campaign, n_ended = self.campaign, self._n_ended
        try:
            points = await campaign.clock.blocking(campaign.question(n))
            if self._over is None:
                self._proposed(n, points, n_ended)
        except PlanningError as error:
            self._over = self._over or ("stopped", error.message)
        finally:
            self._is_asking = False
            self._wake.set()

    def _proposed(self, n: int, points: Sequence[Point], n_ended: int) -> None:
        self._waiting += self.campaign.propose(points)
        if len(points) < n:
            self._had_no_point_at = n_ended

    @property
    def _has_no_point(self) -> bool:
        """Whether the planner had too few points, and no trial ended since it was asked."""
        return self._had_no_point_at == self._n_ended

    @property
    def _n_ended(self) -> int:
        return len(self.campaign.trials.rows) - len(self.campaign.trials.pending)

    def _send(self, tasks: TaskGroup) -> bool:
        """Request runs for the trials that wait, and have the requests leave once they are durable; whether any do."""
        campaign = self.campaign
        outbox: dict[str, list[RunRequest]] = {}
        waiting, self._waiting = self._waiting, []
        for trial in waiting:
            tries = [campaign.runs.rows[run] for run in trial.runs]
            refusing = {r.site for r in tries if r.state == "refused" and r.code not in ("allocation", "batch")}
            choice = self.routes.broker.choose(
                [r.site for r in tries],
                self._n_to_come(),
                lambda route, refusing=refusing, source=trial.source: (
                    route.serves(source) and route.site not in refusing and self._may_pay(route)
                ),
            )
            if choice is None:
                routes = self.routes.of_source(trial.source)
                if self.routes.is_awaiting:
                    self._waiting.append(trial)
                elif refusing and all(route.closed or route.site in refusing for route in routes):
                    campaign.abandon(trial.trial, f"{tries[-1].state} at {tries[-1].site}: {tries[-1].message}")
                    self._wake.set()
                elif trial.source and all(route.closed for route in routes):
                    campaign.abandon(trial.trial, f"no site takes runs of source '{trial.source}' any more")
                    self._wake.set()
                else:
                    self._waiting.append(trial)
                continue
            spec = choice.route.spec
            requested = RunRequested(
                campaign.new_id(), trial.trial, choice.route.site, spec.name, spec.version,
                choice.route.binding.to_procedure(trial.parameters), choice.why,
            )  # fmt: skip
            campaign.ledger.append(requested)
            choice.route.sent()
            self.spending.hold(requested.run, choice.route, choice.route.price)
            outbox.setdefault(choice.route.site, []).append(self._request(requested))
        for site, requests in outbox.items():
            for start in range(0, len(requests), BATCH_MAX):
                tasks.start_soon(self._submit, site, requests[start : start + BATCH_MAX])
        return bool(outbox)

    async def _submit(self, name: str, requests: Sequence[RunRequest]) -> None:
        """Have requests leave. No answer means unknown, not failed: what the site never heard of is sent again."""
        campaign = self.campaign
        while requests:
            batch = RunBatch(name, campaign.key.name, campaign.clock.now(), tuple(requests))
            payload = msgspec.json.encode(batch)
            await checkpoint()  # the commit begins, and the disk works while this signs
            envelope = seal(campaign.key, RUN_BATCH, payload)
            await campaign.sync()  # nothing leaves before it is written down
            try:
                said = await self.sites[name].submit(envelope)
            except (Unreachable, Replayed):
                await campaign.clock.sleep(RETRY_S)
                unheard = await self._unheard(name, [request.run for request in requests])
                requests = tuple(request for request in requests if request.run in unheard)
            except (AgreementError, RemoteError) as error:
                self._withdraw(requests, error.message)
                return
            else:
                self._hear(name, said)
                return

    def _withdraw(self, requests: Sequence[RunRequest], why: str) -> None:
        """Give up runs whose batch the site refused as a whole."""
        for request in requests:
            if (row := self.campaign.runs.open.get(request.run)) is not None:
                self.campaign.ledger.append(RunWithdrawn(request.run, why))
                self._release(row).closed = why
                self._retry(row)
        self._wake.set()

    def _give_up(self, runs: Sequence[str], why: str) -> None:
        """Take it that what became of runs cannot be known: their site tells this institution nothing any more."""
        self._take_in()  # what it said before
        for run in runs:
            if (row := self.campaign.runs.open.get(run)) is not None:
                self.campaign.ledger.append(RunGivenUp(run, why))
                self._release(row).closed = why
                self.campaign.abandon(row.trial, f"what became of it at {row.site} cannot be known: {why}")
        self._wake.set()

    def _request(self, requested: RunRequested) -> RunRequest:
        file = self.campaign.file
        return RunRequest(
            requested.run, file.team, file.name, requested.trial, requested.procedure, requested.version,
            requested.parameters, file.purpose, file.release,
        )  # fmt: skip

    # ---- what comes back -------------------------------------------------------------------------------------

    def _hear(self, name: str, said: Reports) -> None:
        self._inbox.append((name, said))
        self._wake.set()

    async def _listen(self, name: str, stream: AsyncIterator[Reports]) -> None:
        """Take in what a site reports; one that refuses to is asked about each run, and then to report again."""
        campaign, is_refused = self.campaign, await self._take_from(name, stream)
        while is_refused:
            await campaign.clock.sleep(REFUSED_S)
            async with self.sites[name].follow(campaign.file.team, campaign.name) as again:
                await self._find(name, [row.run for row in campaign.runs.open.values() if row.site == name])
                is_refused = await self._take_from(name, again)

    async def _take_from(self, name: str, stream: AsyncIterator[Reports]) -> bool:
        """Take in reports to the end of their stream; return whether the site refused to go on."""
        try:
            async for reports in stream:
                self._hear(name, reports)
        except AgreementError:
            return True
        return False

    async def _find(self, name: str, runs: Sequence[str]) -> None:
        """Ask a site about runs whose fate is open; what it never heard of is sent again, word for word."""
        if unheard := await self._unheard(name, runs):
            await self._submit(name, [self._request(requested) for requested in self._written_requests(unheard)])

    async def _unheard(self, name: str, runs: Sequence[str]) -> set[str]:
        """Ask a site about runs until it answers, or refused to for long; return those that it never heard of."""
        n_refused = 0
        while asked := [run for run in runs if run in self.campaign.runs.open]:
            try:
                said = await self.sites[name].find(asked)
            except (Unreachable, RemoteError):  # unknown, until the site says
                await self.campaign.clock.sleep(RETRY_S)
                continue
            except AgreementError as error:
                n_refused += 1
                if n_refused >= REFUSED_MAX:
                    self._give_up(asked, error.message)
                else:
                    await self.campaign.clock.sleep(REFUSED_S)
                continue
            self._hear(name, [raw for raw in said if raw is not None])
            return {run for run, raw in zip(asked, said, strict=True) if raw is None}
        return set()

    def _written_requests(self, runs: set[str]) -> list[RunRequested]:
        """Return the requests of runs as they stand in the ledger."""
        records = (read_record(raw).body for raw in self.campaign.ledger.read_from(0))
        return [body for body in records if isinstance(body, RunRequested) and body.run in runs]

    def _take_in(self) -> None:
        inbox, self._inbox = self._inbox, []
        for name, reports in inbox:
            for raw in reports:
                self._report(name, msgspec.Raw(raw))

    def _report(self, site: str, raw: msgspec.Raw) -> None:
        """Write down what a site said about a run, and draw the consequences for its trial."""
        campaign = self.campaign
        record = read_record(raw)
        row = campaign.runs.open.get(record.body.run)
        if row is None or row.site != site or row.state in _NO_NEWS.get(record.kind, ()):
            return  # it ended, it is another site's, or this was heard before
        route, held = self.spending.held(row.run)
        campaign.ledger.append(RunReported(row.site, raw))
        match row.state:
            case "accepted":
                self.spending.hold(row.run, route, row.micro)
                route.accepted(row.micro)
            case "parked":
                pass
            case "refused":
                self._release(row).refused(row.code, row.message)
                self._retry(row)
            case outcome:
                now = campaign.clock.monotonic()
                self._release(row)
                route.ended(outcome, row.fault, row.queue_s, row.run_s, held - row.micro, now)
                if outcome == "succeeded":
                    campaign.observe(row.trial, route.binding.to_campaign(row.outputs), row.run)
                    self._celebrate(campaign.trials.rows[row.trial])
                elif outcome == "infeasible":
                    campaign.rule_out(row.trial, row.message, row.run)
                else:
                    self._retry(row)

    def _celebrate(self, trial: TrialRow) -> None:
        if self._over is None and self.campaign.file.stop.reached and self.campaign.has_reached(trial):
            self._over = "reached", f"trial {trial.n + 1} made the discovery"

    def _retry(self, row: RunRow) -> None:
        """A run gave nothing: its trial waits to be sent elsewhere, or is abandoned at the campaign's limit."""
        campaign = self.campaign
        trial = campaign.trials.rows[row.trial]
        tries = [campaign.runs.rows[run] for run in trial.runs]
        n_failed = sum(r.state == "failed" for r in tries)
        is_own_wish = row.state == "cancelled" and row.run in self._cancelled
        if is_own_wish and self._over is not None and self._over[0] == "stopped":
            return  # the trial stays pending, for when the campaign is resumed
        is_hopeless = (row.state == "cancelled" and not is_own_wish) or (row.state == "failed" and not row.retryable)
        if is_hopeless or n_failed > campaign.file.retries:
            campaign.abandon(trial.trial, f"{row.state} at {row.site}: {row.message}")
        else:
            self._waiting.append(trial)

    # ---- when to end -----------------------------------------------------------------------------------------

    def _judge(self, tasks: TaskGroup) -> None:
        """Find out whether the campaign is over; if so, give up what has not left yet, unless it may be resumed."""
        campaign = self.campaign
        if self._stop_asked and (self._over is None or self._over[0] == "exhausted"):
            self._over = "stopped", self._stop_asked
        if self._over is None and campaign.owes_confirmation and not campaign.is_confirming:
            self._begin_confirmation()
        if self._over is None:
            self._over = self._exhausted()
        if self._over is not None:
            is_stopped = self._over[0] == "stopped"
            for trial in [] if is_stopped else self._waiting:
                campaign.abandon(trial.trial, f"the campaign is over: {self._over[1]}")
            self._waiting.clear()
            self._cancel(tasks, ("accepted", "parked") if is_stopped or self._stop_asked else ("parked",))

    def _begin_confirmation(self) -> None:
        """Turn to the confirmation of the best point where nothing but that is left to be paid."""
        campaign, trials = self.campaign, self.campaign.file.stop.trials
        if campaign.runs.open or self._is_asking:
            return
        is_last = trials is not None and len(campaign.trials.rows) >= trials - 1 and not campaign.trials.pending
        if is_last or self._is_stuck:
            for trial in self._waiting:
                campaign.abandon(trial.trial, "what is left of the cost is kept for a confirmation of the best point")
            self._waiting.clear()
            campaign.is_confirming = True

    @property
    def _is_stuck(self) -> bool:
        """Whether no trial that waits can be paid."""
        if not self.spending.is_limited or not self._waiting:
            return False
        routes = [route for trial in self._waiting for route in self.routes.of_source(trial.source) if not route.closed]
        return bool(routes) and not any(self._may_pay(route) for route in routes)

    def _exhausted(self) -> tuple[str, str] | None:
        campaign, stop = self.campaign, self.campaign.file.stop
        if stop.wall_s is not None and self._active_s() >= stop.wall_s:
            return "exhausted", f"its time of {stop.wall_s:g} s is used up"
        if campaign.runs.open or self._is_asking:
            return None
        if self.routes.are_closed:
            return "exhausted", f"no site takes its runs any more ({self.routes.why_closed})"
        open_ones = [route for route in self.routes.broker.routes if route.counts and not route.closed]
        is_too_dear = bool(open_ones) and not any(self._may_pay(route) for route in open_ones)
        if self.spending.is_limited and not campaign.owes_confirmation and (is_too_dear or self._is_stuck):
            return "exhausted", f"its cost of {', '.join(str(limit) for limit in stop.cost)} is used up"
        if campaign.trials.pending:
            return None
        if stop.trials is not None and len(campaign.trials.rows) >= stop.trials:
            return "exhausted", f"all {stop.trials} trials were made"
        if self._has_no_point:
            return "exhausted", "no untried point is left"
        if campaign.is_confirming and not campaign.owes_confirmation:
            return "exhausted", f"its cost of {', '.join(str(limit) for limit in stop.cost)} is used up"
        return None

    def _cancel(self, tasks: TaskGroup, states: Collection[str]) -> None:
        """Ask sites, once, to cancel the runs there that are in one of these states."""
        by_site: dict[str, list[str]] = {}
        for row in self.campaign.runs.open.values():
            if row.run not in self._cancelled and row.state in states:
                by_site.setdefault(row.site, []).append(row.run)
                self._cancelled.add(row.run)
        for site, runs in by_site.items():
            tasks.start_soon(self._send_cancel, site, runs)

    async def _send_cancel(self, name: str, runs: Sequence[str]) -> None:
        campaign, by = self.campaign, f"campaign {self.campaign.name}"
        while True:
            batch = CancelBatch(name, campaign.key.name, campaign.clock.now(), tuple(runs), by)
            try:
                await self.sites[name].cancel(seal(campaign.key, CANCEL_BATCH, msgspec.json.encode(batch)))
                return
            except Unreachable:
                await campaign.clock.sleep(RETRY_S)
            except (AgreementError, RemoteError):
                return  # the site will not hear of it: the runs go on to their own ends

    def _may_change_by_itself(self) -> bool:
        campaign = self.campaign
        if campaign.ledger.durable_size < campaign.ledger.size:
            return True
        now = campaign.clock.monotonic()
        return bool(self._waiting) and any(now < route.blocked_until for route in self.routes.broker.routes)

    async def _tick(self) -> None:
        while True:
            await self._ticks.wait()
            self._ticks = anyio.Event()
            await self.campaign.clock.sleep(TICK_S)
            await self.campaign.sync()
            self._wake.set()

    async def _end_in_time(self, wall_s: float) -> None:
        while (left_s := wall_s - self._active_s()) > 0.0:
            await self.campaign.clock.sleep(left_s)
        self._wake.set()

    def _active_s(self) -> float:
        """Return for how long somebody drove the campaign, this time included."""
        status = self.campaign.status.row
        return status.active_s + self.campaign.clock.now() - status.session_at

    # ---- what it costs ---------------------------------------------------------------------------------------

    def _release(self, row: RunRow) -> Route:
        """Count an ended run as gone from its route, and at what it was charged; return the route."""
        route = self.spending.release(row)
        route.in_flight -= 1
        return route

    def _may_pay(self, route: Route) -> bool:
        """Return whether what was and is spent leaves room for a run, and for a confirmation that is still to come."""
        kept = 0
        if self.campaign.owes_confirmation:
            counting = (r for r in self.routes.broker.routes if r.counts and not r.closed and r.unit == route.unit)
            kept = min((r.price for r in counting), default=0)
        return self.spending.leaves_room(route, kept)

    def _n_to_come(self) -> int:
        stop = self.campaign.file.stop
        return max(1, stop.trials - len(self.campaign.trials.rows)) if stop.trials is not None else 100
