"""The closed loop: a campaign over sites, asynchronous, and safe to kill at any instant.

One task drives: it takes in what sites reported, proposes and requests what there is room for, makes that durable,
and only then lets it leave. Everything it must know after a crash is in the ledger before it acts.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack

import anyio
import msgspec
from anyio.abc import TaskGroup

from renkei.campaign._campaign import Campaign
from renkei.campaign._state import RunRow, TrialRow
from renkei.errors import AgreementError, PlanningError, Unreachable
from renkei.federation import (
    CANCEL_BATCH,
    RUN_BATCH,
    Broker,
    CancelBatch,
    Reports,
    Route,
    RunBatch,
    RunRequest,
    SiteHandle,
)
from renkei.model.records import CheckpointSeen, RunReported, RunRequested, RunWithdrawn, read_record
from renkei.model.space import Point
from renkei.trust.envelope import seal

TICK_S = 0.5
"""How often rules that depend on time are looked at."""
RETRY_S = 1.0
"""How long to wait before a site that could not be reached is asked again."""
QUICK_PLANNERS = frozenset({"sobol", "random"})
"""Planners that propose in microseconds: asked in the event loop, where a thread would cost more."""
BATCH_MAX = 500
"""How many requests one signature covers at most."""


class Runner:
    """Drives one campaign over sites until a stopping rule holds.

    Args:
        campaign: What to drive.
        sites: Handles by name.
        broker: Knows every route that the campaign's sources allow.
        on_change: Called after each round of work, for displays.
    """

    def __init__(
        self,
        campaign: Campaign,
        sites: Mapping[str, SiteHandle],
        broker: Broker,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.campaign, self.sites, self.broker, self._on_change = campaign, sites, broker, on_change
        self._routes = {(route.site, route.spec.name): route for route in broker.routes}
        self._inbox: list[Reports] = []
        self._wake = anyio.Event()
        self._waiting: list[TrialRow] = []  # trials to be sent: new ones, and those whose last run gave nothing
        self._committed: Counter[str] = Counter()  # by unit, millionths: spent, and held by runs that have not ended
        self._held: dict[str, int] = {}  # by run that has not ended, millionths of its route's unit
        self._limits = {limit.unit: limit.micro for limit in campaign.file.stop.cost}
        self._is_asking = self._is_space_used_up = False
        self._over: tuple[str, str] | None = None
        self._stop_asked = ""
        self._cancelled: set[str] = set()
        for row in campaign.runs.rows.values():
            if row.run in campaign.runs.open:
                self._hold(row, row.micro)
            else:
                self._committed[row.unit] += row.micro
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
                stream = await stack.enter_async_context(site.follow(campaign.name))
                tasks.start_soon(self._listen, stream)
                tasks.start_soon(self._find, name, [r for r in campaign.runs.open.values() if r.site == name])
            tasks.start_soon(self._tick)
            open_trials = {row.trial for row in campaign.runs.open.values()}
            self._waiting = [t for t in campaign.trials.pending.values() if t.trial not in open_trials]
            while True:
                self._take_in()
                self._judge(tasks)
                if self._over is None:
                    self._plan(tasks)
                    self._send(tasks)
                await campaign.sync()
                self._on_change()
                if self._over is not None and not campaign.runs.open and not self._is_asking:
                    break
                if not self._inbox:
                    await self._wake.wait()
                self._wake = anyio.Event()
            tasks.cancel_scope.cancel()
        assert self._over is not None
        state, why = self._over
        for name in {row.site for row in campaign.runs.rows.values()}:
            campaign.ledger.append(CheckpointSeen(name, await self.sites[name].checkpoint()))
        campaign.end(state, why)
        await campaign.ledger.checkpoint()
        return state, why

    # ---- what goes out ---------------------------------------------------------------------------------------

    def _plan(self, tasks: TaskGroup) -> None:
        """Have points proposed where there is room for them."""
        file = self.campaign.file
        n = file.planner.parallel - len(self.campaign.trials.pending)
        if file.stop.trials is not None:
            n = min(n, file.stop.trials - len(self.campaign.trials.rows))
        if n <= 0 or self._is_asking or self._is_space_used_up:
            return
        if file.planner.name in QUICK_PLANNERS:
            self._proposed(n, self.campaign.question(n)())
        else:
            self._is_asking = True
            tasks.start_soon(self._ask, n)

    async def _ask(self, n: int) -> None:
        campaign = self.campaign
        try:
            points = await campaign.clock.blocking(campaign.question(n))
            if self._over is None:
                self._proposed(n, points)
        except PlanningError as error:
            self._over = self._over or ("stopped", error.message)
        finally:
            self._is_asking = False
            self._wake.set()

    def _proposed(self, n: int, points: Sequence[Point]) -> None:
        self._waiting += self.campaign.propose(points)
        self._is_space_used_up = len(points) < n

    def _send(self, tasks: TaskGroup) -> None:
        """Request runs for the trials that wait, and have the requests leave once they are durable."""
        campaign = self.campaign
        outbox: dict[str, list[RunRequest]] = {}
        waiting, self._waiting = self._waiting, []
        for trial in waiting:
            tried = [campaign.runs.rows[run].site for run in trial.runs]
            choice = self.broker.choose(tried, self._n_to_come(), self._may_pay)
            if choice is None:
                self._waiting.append(trial)
                continue
            spec = choice.route.spec
            requested = RunRequested(
                campaign.new_id(), trial.trial, choice.route.site, spec.name, spec.version,
                choice.route.binding.to_procedure(trial.parameters), choice.why,
            )  # fmt: skip
            campaign.ledger.append(requested)
            self._hold(campaign.runs.rows[requested.run], choice.route.price)
            outbox.setdefault(choice.route.site, []).append(self._request(requested))
        for site, requests in outbox.items():
            for start in range(0, len(requests), BATCH_MAX):
                tasks.start_soon(self._submit, site, requests[start : start + BATCH_MAX])

    async def _submit(self, name: str, requests: Sequence[RunRequest]) -> None:
        campaign = self.campaign
        batch = RunBatch(name, campaign.key.name, campaign.clock.now(), tuple(requests))
        envelope = seal(campaign.key, RUN_BATCH, msgspec.json.encode(batch))
        await campaign.sync()  # nothing leaves before it is written down
        try:
            said = await self.sites[name].submit(envelope)
        except Unreachable:  # no answer means unknown, not failed
            await campaign.clock.sleep(RETRY_S)
            rows = [campaign.runs.rows[request.run] for request in requests]
            await self._find(name, [row for row in rows if row.run in campaign.runs.open])
        except AgreementError as error:
            for request in requests:
                row = campaign.runs.rows[request.run]
                campaign.ledger.append(RunWithdrawn(request.run, error.message))
                route = self._release(row)
                route.closed = error.message
                self._retry(row)
            self._wake.set()
        else:
            self._inbox.append(said)
            self._wake.set()

    def _request(self, requested: RunRequested) -> RunRequest:
        file = self.campaign.file
        return RunRequest(
            requested.run, file.team, file.name, requested.trial, requested.procedure, requested.version,
            requested.parameters, file.purpose, file.release,
        )  # fmt: skip

    # ---- what comes back -------------------------------------------------------------------------------------

    async def _listen(self, stream: AsyncIterator[Reports]) -> None:
        async for reports in stream:
            self._inbox.append(reports)
            self._wake.set()

    async def _find(self, name: str, rows: Sequence[RunRow]) -> None:
        """Ask a site about runs whose fate is open; what it never heard of is sent again, word for word."""
        while rows:
            try:
                said = await self.sites[name].find([row.run for row in rows])
            except Unreachable:
                await self.campaign.clock.sleep(RETRY_S)
                continue
            self._inbox.append([raw for raw in said if raw is not None])
            self._wake.set()
            unheard = {row.run for row, raw in zip(rows, said, strict=True) if raw is None}
            if unheard:
                await self._submit(name, [self._request(r) for r in self._written_requests(unheard)])
            return

    def _written_requests(self, runs: set[str]) -> list[RunRequested]:
        """Return the requests of runs as they stand in the ledger."""
        records = (read_record(raw).body for raw in self.campaign.ledger.read_from(0))
        return [body for body in records if isinstance(body, RunRequested) and body.run in runs]

    def _take_in(self) -> None:
        inbox, self._inbox = self._inbox, []
        for reports in inbox:
            for raw in reports:
                self._report(msgspec.Raw(raw))

    def _report(self, raw: msgspec.Raw) -> None:
        """Write down what a site said about a run, and draw the consequences for its trial."""
        campaign = self.campaign
        record = read_record(raw)
        row = campaign.runs.open.get(record.body.run)
        if row is None or (record.kind == "run.accepted" and row.state == "accepted"):
            return  # it ended, or this was heard before
        held = self._held[row.run]
        campaign.ledger.append(RunReported(row.site, raw))
        match row.state:
            case "accepted":
                self._hold(row, row.micro)
                self._route(row).accepted(row.micro)
            case "parked":
                pass
            case "refused":
                self._release(row).refused(row.code, row.message)
                self._retry(row)
            case outcome:
                now = campaign.clock.monotonic()
                route = self._release(row)
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
        refusing = {r.site for r in tries if r.state == "refused" and r.code not in ("allocation", "batch")}
        if row.state == "cancelled" and row.run in self._cancelled:
            return  # at our own wish: the trial stays pending, for when the campaign is resumed
        is_hopeless = row.state == "cancelled" or (row.state == "failed" and not row.retryable)
        if is_hopeless or n_failed > campaign.file.retries or refusing >= {r.site for r in self.broker.routes}:
            campaign.abandon(trial.trial, f"{row.state} at {row.site}: {row.message}")
        else:
            self._waiting.append(trial)

    # ---- when to end -----------------------------------------------------------------------------------------

    def _judge(self, tasks: TaskGroup) -> None:
        """Find out whether the campaign is over; if so, give up what has not left yet, unless it may be resumed."""
        campaign = self.campaign
        if self._stop_asked and self._over is None:
            self._over = "stopped", self._stop_asked
        if self._over is None:
            self._over = self._exhausted()
        if self._over is not None:
            is_stopped = self._over[0] == "stopped"
            for trial in [] if is_stopped else self._waiting:
                campaign.abandon(trial.trial, f"the campaign is over: {self._over[1]}")
            self._waiting.clear()
            self._cancel(tasks, ("accepted", "parked") if is_stopped else ("parked",))

    def _exhausted(self) -> tuple[str, str] | None:
        campaign, stop = self.campaign, self.campaign.file.stop
        status = campaign.status.row
        active_s = status.active_s + campaign.clock.now() - status.session_at
        if stop.wall_s is not None and active_s >= stop.wall_s:
            return "exhausted", f"its time of {stop.wall_s:g} s is used up"
        if campaign.runs.open or self._is_asking:
            return None
        if self.broker.is_closed:
            reasons = "; ".join(sorted({f"{r.site}: {r.closed}" for r in self.broker.routes}))
            return "exhausted", f"no site takes its runs any more ({reasons})"
        if self._limits and not any(self._may_pay(route) for route in self.broker.routes):
            return "exhausted", f"its cost of {', '.join(str(limit) for limit in stop.cost)} is used up"
        if campaign.trials.pending:
            return None
        if stop.trials is not None and len(campaign.trials.rows) >= stop.trials:
            return "exhausted", f"all {stop.trials} trials were made"
        if self._is_space_used_up:
            return "exhausted", "no untried point is left"
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
        campaign = self.campaign
        batch = CancelBatch(name, campaign.key.name, campaign.clock.now(), tuple(runs), f"campaign {campaign.name}")
        await self.sites[name].cancel(seal(campaign.key, CANCEL_BATCH, msgspec.json.encode(batch)))

    async def _tick(self) -> None:
        while True:
            await self.campaign.clock.sleep(TICK_S)
            self._wake.set()

    # ---- what it costs ---------------------------------------------------------------------------------------

    def _route(self, row: RunRow) -> Route:
        return self._routes[row.site, row.procedure]

    def _hold(self, row: RunRow, micro: int) -> None:
        """Count what an open run holds, or changes to hold."""
        route = self._route(row)
        if row.run not in self._held:
            route.in_flight += 1
        micro = micro or route.price
        self._committed[route.unit] += micro - self._held.get(row.run, 0)
        self._held[row.run] = micro

    def _release(self, row: RunRow) -> Route:
        """Count what an ended run was charged in place of what it held."""
        route = self._route(row)
        route.in_flight -= 1
        charged = 0 if row.state == "refused" else row.micro
        self._committed[route.unit] += charged - self._held.pop(row.run)
        return route

    def _may_pay(self, route: Route) -> bool:
        limit = self._limits.get(route.unit)
        return limit is None or self._committed[route.unit] + route.price <= limit

    def _n_to_come(self) -> int:
        stop = self.campaign.file.stop
        return max(1, stop.trials - len(self.campaign.trials.rows)) if stop.trials is not None else 100
