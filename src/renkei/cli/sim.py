"""`renkei sim`: seeds."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from renkei.cli._lazy import new_app
from renkei.cli._options import JsonOption
from renkei.cli._output import err, out, print_json
from renkei.errors import UsageError
from renkei.sim import Outcome, run_seed, run_seeds

app = new_app()


@app.callback()
def _noun() -> None:
    """Keep `seeds` a verb of its own."""


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
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=err(), transient=True) as progress:
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
