"""`renkei sim`: run, compare, seeds."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from renkei.cli._lazy import new_app
from renkei.cli._options import JsonOption
from renkei.cli._output import columns, err, out, print_json
from renkei.errors import UsageError
from renkei.sim import Outcome, Result, Scenario, load_scenario, run_scenario, run_seed, run_seeds
from renkei.sim._compare import compare
from renkei.sim._compare_figures import cost_table, time_table, verdict, write_comparison
from renkei.sim._plots import draw_result, require_plots
from renkei.sim._result import DAY_S
from renkei.sim._scenario import SHIPPED
from renkei.sim._tables import Table, allocation_table, effect_table, event_table, site_table, summary, team_table

app = new_app()


@app.command("run")
def run(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SCENARIO.toml]",
            exists=True,
            dir_okay=False,
            show_default=False,
            help="The scenario; left out, a month of an illustrative partnership.",
        ),
    ] = None,
    days: Annotated[float | None, typer.Option("--days", help="Watch it for so many virtual days.", min=0.01)] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="In place of the scenario's own.", min=0)] = None,
    runs: Annotated[
        int | None, typer.Option("--runs", help="In place of the scenario's own number of runs of surveys.", min=1)
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Confine each campaign to its best single site, with all that its team has.")
    ] = False,
    calm: Annotated[bool, typer.Option("--calm", help="No site is lost, and nobody accedes.")] = False,
    effect: Annotated[
        bool, typer.Option("--effect", help="Run it once more with --calm, and say what the events changed.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Draw plots into this folder (needs renkei[report]).")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep all ledgers in this new folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a whole partnership on virtual time, and say what came of it.

    Prints what sites did and how long runs waited there, what teams found and when, what was used of each allocation,
    and what a lost site or a party that accedes changed. Sites, campaigns, policies and books are the real code;
    engines and lines are simulated. The same scenario, seed and number of runs give the same ledgers.
    """
    scenario = load_scenario(file).with_scale(runs=runs, time_s=None if days is None else days * DAY_S)
    if calm:
        scenario = scenario.without_events()
    if output is not None:
        require_plots()
    if keep is not None:
        keep.mkdir(parents=True)
    result = _shown(scenario, seed, joint=not alone, folder=keep)
    compared = _shown(scenario.without_events(), seed, joint=not alone) if effect else None
    plots = [] if output is None else draw_result(scenario, result, output)
    if as_json:
        print_json([each.to_json() for each in (result, compared) if each is not None])
        return
    console = out()
    for line in summary(scenario, result):
        console.print(line, soft_wrap=True)
    tables = [site_table(result), team_table(result), allocation_table(result), event_table(scenario, result)]
    if compared is not None:
        tables.append(effect_table(result, compared))
    _print_tables(tables)
    for path in plots:
        console.print(f"drawn: {path}", soft_wrap=True)


def _print_tables(tables: Iterable[Table]) -> None:
    console = out()
    for heads, rows in tables:
        if rows:
            table = columns(*heads)
            for row in rows:
                table.add_row(*row)
            console.print()
            console.print(table)


def _shown(scenario: Scenario, seed: int | None, *, joint: bool, folder: Path | None = None) -> Result:
    """Run a scenario with a progress bar."""
    total = sum(scenario.trials(series) * series.times for series in scenario.campaign)
    bars = (
        TextColumn("day {task.fields[day]:.1f}"), BarColumn(), MofNCompleteColumn(), TextColumn("trials"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*bars, console=err(), transient=True) as progress:
        task = progress.add_task("", total=total, day=0.0)

        def show(time_s: float, n_ended: int) -> None:
            progress.update(task, completed=n_ended, day=time_s / DAY_S)

        return run_scenario(scenario, seed=seed, joint=joint, folder=folder, on_progress=show)


@app.command("compare")
def compare_ways(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SCENARIO.toml]",
            exists=True,
            dir_okay=False,
            show_default=False,
            help="The scenario; left out, nine searches of an illustrative partnership.",
        ),
    ] = None,
    n_seeds: Annotated[int, typer.Option("--seeds", help="With how many seeds, from 1.", min=2)] = 50,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="How many searches at the same time.", min=1)] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write the result and a plot into this folder (needs renkei[report]). What was stopped goes on there.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare teams that work jointly with each at its best site.

    Makes the searches of a scenario at the best single site of each team, and at all of its sites together. Prints how
    much sooner discoveries are made together, and what they cost. A team has the same total allocation in both. The
    best single site is the one that turns out best afterwards, of all sites that give to the team.
    """
    scenario = load_scenario(file or SHIPPED / "productivity.toml")
    notes = None
    if output is not None:
        require_plots()
        output.mkdir(parents=True, exist_ok=True)
        notes = output / f"{scenario.scenario.name}.notes"
    bars = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*bars, console=err(), transient=True) as progress:
        task = progress.add_task("searches", total=None)

        def show(n_done: int, total: int) -> None:
            progress.update(task, completed=n_done, total=total)

        comparison = compare(scenario, range(1, n_seeds + 1), n_processes=jobs, notes=notes, on_progress=show)
    if notes is not None:
        assert output is not None
        write_comparison(comparison, output)
        notes.unlink()
    if as_json:
        print_json([comparison.to_json()])
        return
    console = out()
    for line in verdict(comparison):
        console.print(line, soft_wrap=True)
    _print_tables([time_table(comparison), cost_table(comparison)])


@app.command("seeds")
def seeds(
    first: Annotated[int, typer.Argument(help="The first seed.", min=0)],
    last: Annotated[int | None, typer.Argument(help="The last seed; left out, only the first.", min=0)] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="How many at the same time.", min=1)] = os.cpu_count() or 1,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep the ledgers of a single seed in this new folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a small federation with the faults that a seed says.

    Three sites and two campaigns work on virtual time, and whatever can go wrong does. The code of sites and campaigns
    is the real one; engines, lines and clocks are simulated. The same seed gives the same ledgers, byte for byte. Exits
    with 1 when a promise was broken.
    """
    wanted = range(first, (first if last is None else last) + 1)
    if keep is not None:
        if len(wanted) != 1:
            raise UsageError("Only the ledgers of a single seed are kept.", "Give one seed with --keep.")
        keep.mkdir(parents=True)
        outcomes = [run_seed(first, keep)]
    else:
        outcomes = list[Outcome]()
        bars = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*bars, console=err(), transient=True) as progress:
            task = progress.add_task("seeds", total=len(wanted))

            def take(outcome: Outcome) -> None:
                outcomes.append(outcome)
                progress.advance(task)

            run_seeds(wanted, min(jobs, len(wanted)), take)
    broken = [outcome for outcome in outcomes if outcome.problem]
    if as_json:
        print_json([{"seed": o.seed, "problem": o.problem, "counts": o.counts, "digests": o.digests} for o in outcomes])
    else:
        console = out()
        total = sum((outcome.counts for outcome in outcomes), Counter[str]())
        for outcome in broken:
            console.print(f"seed {outcome.seed}  {outcome.problem}", soft_wrap=True)
            if len(wanted) == 1 and outcome.trace:
                console.print(outcome.trace, markup=False, soft_wrap=True)
            console.print(f"  replay it with: renkei sim seeds {outcome.seed} --keep seed-{outcome.seed}")
        console.print(f"{len(outcomes)} seeds, {len(broken)} broke a promise; {_words(total)}", soft_wrap=True)
    raise typer.Exit(1 if broken else 0)


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
