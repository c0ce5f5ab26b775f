"""Runs the campaigns that are missing, in processes of their own, and keeps each as soon as it has ended."""

import itertools
import json
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.planning import campaign, results
from benchmarks.planning.peers import Entry
from benchmarks.planning.problem import Problem
from benchmarks.planning.problems import calm_and_failing_tables, problems

_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
_PER_PROCESS = 40
"""Campaigns before a worker is replaced: some optimisers leak."""


@dataclass(frozen=True, slots=True)
class Job:
    """One campaign to run; it ends before `n_evaluations` where a true loss of `until` is found."""

    problem: str
    batch: int
    n_evaluations: int
    planner: str
    version: str
    seed: int
    until: float = -math.inf


def jobs(
    chosen: Collection[Problem], planners: Collection[Entry], budgets: Mapping[int, int], n_seeds: int, tag: str
) -> Iterator[Job]:
    """Yield every campaign, seeds outermost: each beginning of the list is the whole benchmark with fewer seeds.

    Args:
        chosen: The problems.
        planners: The optimisers.
        budgets: Evaluations of a campaign by batch size.
        n_seeds: How many campaigns of each.
        tag: The version to keep results under; empty for that of what is installed.
    """
    versions = {entry.name: tag or entry.version for entry in planners}
    for seed in range(n_seeds):
        for batch, n in budgets.items():
            for problem in chosen:
                if batch in problem.batches:
                    for entry in planners:
                        yield Job(problem.name, batch, n, entry.name, versions[entry.name], seed)


def run(wanted: Iterator[Job], n_workers: int, folder: Path) -> None:
    """Run what is not in `folder` yet; may be stopped at any time, which loses the campaigns that are under way."""
    os.environ |= _ONE_THREAD
    done = {line.key for line in results.read(folder)}
    missing = [j for j in wanted if (j.problem, j.batch, j.planner, j.version, j.seed) not in done]
    _note_machine(folder)
    print(f"{len(missing)} campaigns to run, {n_workers} at a time", flush=True)
    began, left, n_ended = time.monotonic(), iter(missing), 0
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, mp_context=spawn, max_tasks_per_child=_PER_PROCESS) as pool:
        running: set[Future[campaign.Line]] = {pool.submit(_one, job) for job in itertools.islice(left, n_workers)}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                line = future.result()
                results.write(line, folder)
                n_ended += 1
                print(
                    f"{n_ended}/{len(missing)} {time.monotonic() - began:.0f} s: {line.problem} batch {line.batch} "
                    f"{line.planner} seed {line.seed}: {line.best_at(line.n):.6g} {line.error}",
                    flush=True,
                )
            running |= {pool.submit(_one, job) for job in itertools.islice(left, len(ended))}


def _note_machine(folder: Path) -> None:
    """Write down, once, what campaigns run on; remove the file to have it written anew."""
    path = folder / "machine.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        models = [x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
        cores = f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}"
        about = f"Run on {cores}, {platform.system()}, Python {platform.python_version()}"
        path.write_text(json.dumps({"machine": about}) + "\n", encoding="utf-8")


def _one(job: Job) -> campaign.Line:
    problem = _by_name()[job.problem]
    return campaign.run(problem, job.batch, job.n_evaluations, job.planner, job.version, job.seed, job.until)


@cache
def _by_name() -> dict[str, Problem]:
    return {problem.name: problem for problem in [*itertools.chain(*calm_and_failing_tables()), *problems()]}
