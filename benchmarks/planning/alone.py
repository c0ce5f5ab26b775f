"""renkei alone on the tables, each campaign run until it finds the best row: acceleration, also where trials fail."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.planning import results
from benchmarks.planning.peers import ENTRIES
from benchmarks.planning.problems import calm_and_failing_tables
from benchmarks.planning.reference import losses
from benchmarks.planning.runner import Job
from benchmarks.planning.scores import Case

OURS = "renkei"
N_SEEDS = 50
MAX_EVALUATIONS = 400
"""Where the best row is not found by then, a campaign has spent that much for nothing."""

SUBFOLDER = "alone"


def jobs(folder: Path, n_seeds: int, tag: str) -> Iterator[Job]:
    """Yield every campaign, seeds outermost.

    Args:
        folder: Where results are kept.
        n_seeds: How many campaigns of each table.
        tag: The version to keep results under; empty for the installed one.
    """
    version = tag or next(entry.version for entry in ENTRIES if entry.name == OURS)
    for seed in range(n_seeds):
        for problem in (problem for pair in calm_and_failing_tables() for problem in pair):
            best = float(losses(problem, folder)[0])
            yield Job(problem.name, 1, MAX_EVALUATIONS, OURS, version, seed, best)


def cases(folder: Path) -> list[tuple[Case, Case]]:
    """Return each table, without and with failures, over the seeds of which both campaigns are kept in `folder`."""
    lines = results.read(folder / SUBFOLDER)
    versions = results.newest(lines)
    lines = [line for line in lines if line.version == versions[line.planner]]
    found: list[tuple[Case, Case]] = []
    for pair in calm_and_failing_tables():
        seeds = set[int].intersection(*({line.seed for line in lines if line.problem == p.name} for p in pair))
        if not seeds:
            continue
        calm, failing = (
            Case(
                problem.name,
                1,
                MAX_EVALUATIONS,
                problem.failing,
                (random := losses(problem, folder)),
                float(random[0]),
                {OURS: [line for line in lines if line.problem == problem.name and line.seed in seeds]},
            )
            for problem in pair
        )
        found.append((calm, failing))
    return found
