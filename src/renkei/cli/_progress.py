"""What a campaign looks like while it is driven: a live view on a terminal, plain lines anywhere else."""

from collections import Counter
from collections.abc import Iterable, Sequence

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from renkei.campaign import Runner, TrialRow
from renkei.cli._at_sites import AtSite, SiteTable, amounts, at_sites
from renkei.cli._output import amount, count, duration, plain, point, value
from renkei.clock import Clock
from renkei.errors import UsageError
from renkei.home._home import site_of_baseline
from renkei.home._session import Drive
from renkei.planning.acceleration import Curve, Step, accelerate, against_of
from renkei.planning.pareto import Yardstick

FRAME_S = 0.25
"""How often the live view is drawn."""
LINE_S = 10.0
"""How often a line is printed where there is no terminal, besides one for every new best trial."""


class Progress:
    """A view of a campaign that is being driven.

    Args:
        drive: The campaign and its baselines.
        clock: Says how long it has been driven.
    """

    def __init__(self, drive: Drive, clock: Clock) -> None:
        self.drive, self._clock, self._began = drive, clock, clock.monotonic()
        self._n_compared, self._verdict = -1, ""
        self._line_at = self._began - LINE_S
        self._line_best: str = ""
        self.said = ""
        """The line that `next_line` gave last."""

    async def show(self, console: Console) -> None:
        """Show it until cancelled."""
        if not console.is_terminal:
            while True:
                if line := self.next_line():
                    console.print(line, soft_wrap=True)
                await anyio.sleep(FRAME_S)
        with Live(self.frame(), console=console, auto_refresh=False, transient=True) as live:
            while True:
                await anyio.sleep(FRAME_S)
                live.update(self.frame(), refresh=True)

    # ---- plain lines -----------------------------------------------------------------------------------------

    def next_line(self) -> str:
        """Return a line if there is a new best trial or none was printed for a while, else ""."""
        now, best = self._clock.monotonic(), self._best(self.drive.runner)
        if now - self._line_at < (1.0 if best != self._line_best else LINE_S):
            return ""
        self._line_at, self._line_best = now, best
        self.said = self.line()
        return self.said

    def line(self) -> str:
        """Return where the campaign stands, on one line."""
        runner = self.drive.runner
        sites = at_sites(runner)
        charged = amounts(sum((site.charged for site in sites.values()), Counter[str]()))
        parts = [self._trials(runner), f"best {self._best(runner) or 'not yet'}"]
        parts.append(f"{count(sum(site.n_at_work for site in sites.values()), 'run')} at work")
        if n := sum(site.states["parked"] for site in sites.values()):
            parts.append(f"{count(n, 'run')} waiting for approval")
        if runner.campaign.status.row.state != "running" and self.drive.baselines:
            n_ended = sum(_n_ended(baseline) for baseline in self.drive.baselines)
            n_over = sum(baseline.campaign.status.row.state != "running" for baseline in self.drive.baselines)
            parts.append(f"baseline {count(n_ended, 'trial')}, {n_over} of {len(self.drive.baselines)} campaigns over")
        return f"{runner.campaign.name}: {', '.join(parts)}{f', charged {charged}' if charged else ''}"

    # ---- the live view ---------------------------------------------------------------------------------------

    def frame(self) -> RenderableType:
        """Return the whole view as it is now."""
        runner, file = self.drive.runner, self.drive.file
        campaign = runner.campaign
        head = Text.assemble((campaign.name, "bold"), f"  {file.title}" if file.title else "")
        head.append(f"  {campaign.status.row.state}, {duration(self._clock.monotonic() - self._began)}", "dim")
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        stop = file.stop
        if stop.trials is not None:
            grid.add_row("trials", _bar(_n_ended(runner), stop.trials, self._trials(runner)))
        else:
            grid.add_row("trials", self._trials(runner))
        if stop.wall_s is not None:
            status = campaign.status.row
            active_s = status.active_s + max(0.0, self._clock.now() - status.session_at)
            grid.add_row("time", _bar(active_s, stop.wall_s, f"{duration(active_s)} of {duration(stop.wall_s)}"))
        sites = at_sites(runner)
        spent = sum((site.charged + site.reserved for site in sites.values()), Counter[str]())
        for limit in stop.cost:
            text = f"{amount(spent[limit.unit], limit.unit)} of {limit}"
            grid.add_row("cost", _bar(spent[limit.unit], limit.micro, text))
        grid.add_row("best", self._best(runner) or "no trial observed yet")
        grouped: dict[str, list[Runner]] = {}
        for baseline in self.drive.baselines:
            site = site_of_baseline(baseline.campaign.directory.name)
            grouped.setdefault(f"{site} alone" if site else baseline.campaign.file.planner.name, []).append(baseline)
        for i, (name, group) in enumerate(grouped.items()):
            grid.add_row("baseline" if i == 0 else "", f"{name}: {self._group(group)}")
        if verdict := self._acceleration():
            grid.add_row("acceleration", verdict)
        notes = [f"{name}: {note}" for name, site in sites.items() if (note := self._note(runner, name, site))]
        return Group(head, grid, Text(), SiteTable(runner, sites), *(Text(note) for note in notes))

    def _note(self, runner: Runner, name: str, site: AtSite) -> str:
        if n := site.states["parked"]:
            return f"{count(n, 'run')} to be approved by a person: renkei run list --state parked"
        if name in runner.routes.absent:
            return plain(runner.routes.absent[name]) or "does not answer; takes part once it does"
        routes = [route for route in runner.routes.broker.routes if route.site == name]
        if all(route.closed for route in routes):
            return plain("; ".join(route.closed for route in routes))
        rest = min((route.blocked_until for route in routes), default=0.0) - self._clock.monotonic()
        return f"failed; tried again in {duration(rest)}" if rest > 0 else ""

    # ---- parts -----------------------------------------------------------------------------------------------

    def _trials(self, runner: Runner) -> str:
        rows, limit = runner.campaign.trials.rows, runner.campaign.file.stop.trials
        states = Counter(row.state for row in rows.values())
        told = [f"{states[state]} {state}" for state in ("infeasible", "abandoned") if states[state]]
        text = f"{_n_ended(runner):,} of {limit:,} trials" if limit else count(_n_ended(runner), "trial")
        return f"{text} ({', '.join(told)})" if told else text

    def _group(self, group: Sequence[Runner]) -> str:
        """Return where baseline campaigns of one kind stand: a single one with its best, several together."""
        if len(group) == 1:
            return f"{self._trials(group[0])}, best {self._best(group[0], with_point=False) or 'not yet'}"
        n_over = sum(runner.campaign.status.row.state != "running" for runner in group)
        return f"{n_over} of {len(group)} campaigns over, {count(sum(map(_n_ended, group)), 'trial')}"

    def _best(self, runner: Runner, with_point: bool = True) -> str:
        row, file = runner.campaign.best, runner.campaign.file
        if row is None:
            return ""
        goals = ", ".join(f"{o.output} {value(row.outputs.get(o.output), o.unit)}" for o in file.objectives)
        units = {parameter.name: parameter.unit for parameter in file.space.parameters}
        return f"{goals} (trial {row.n + 1}: {point(row.parameters, units)})" if with_point else goals

    def _acceleration(self) -> str:
        """Return the verdict so far; found anew only when another trial ended."""
        baselines, file = self.drive.baselines, self.drive.file
        n = sum(_n_ended(runner) for runner in (self.drive.runner, *baselines))
        if file.baseline is None or not baselines or n == self._n_compared:
            return self._verdict
        self._n_compared = n
        rows, beside = _ended(self.drive.runner), [_ended(runner) for runner in baselines]
        try:
            outputs = [row.outputs for each in beside for row in each] or [row.outputs for row in rows]
            yardstick = Yardstick(file.objectives, file.constraints, outputs)
        except UsageError:  # several objectives without a reach, and no trial yet
            return ""
        curves: dict[str, list[Curve]] = {}
        for runner, ended in zip(baselines, beside, strict=True):
            site = site_of_baseline(runner.campaign.directory.name)
            curves.setdefault(site, []).append(Curve(_steps(ended, yardstick), yardstick.reach))
        against = against_of(curves, file.baseline.learns)
        found = accelerate(Curve(_steps(rows, yardstick), yardstick.reach), against)
        self._verdict = found.verdict(file.baseline.title) if found.factor is not None else ""
        return self._verdict


def _n_ended(runner: Runner) -> int:
    return len(runner.campaign.trials.rows) - len(runner.campaign.trials.pending)


def _ended(runner: Runner) -> list[TrialRow]:
    rows = (row for row in runner.campaign.trials.rows.values() if row.ended_at)
    return sorted(rows, key=lambda row: row.ended_at)


def _steps(rows: Iterable[TrialRow], yardstick: Yardstick) -> list[Step]:
    return [Step(yardstick.loss(row.outputs) if row.state == "observed" and row.counts else None) for row in rows]


def _bar(done: float, total: float, text: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=total, completed=min(done, total), width=30), text)
    return grid
