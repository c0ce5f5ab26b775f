"""Many seeds, on several processes."""

import gc
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor

from renkei.sim._small import Outcome, run_seed


def run_seeds(seeds: Iterable[int], n_processes: int, on_outcome: Callable[[Outcome], None]) -> int:
    """Run the small scenario once for every seed; return how many seeds broke a promise.

    Args:
        seeds: The seeds.
        n_processes: How many are run at the same time.
        on_outcome: Told of each, in the order of the seeds.
    """
    n_broken = 0
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn"), _collect_rarely) as pool:
        for outcome in pool.map(run_seed, seeds, chunksize=8):
            n_broken += bool(outcome.problem)
            on_outcome(outcome)
    return n_broken


def _collect_rarely() -> None:
    """Leave cycles alone for longer: one small world comes after another, and a tenth of the time goes there."""
    gc.set_threshold(100_000, 50, 100)
