"""One campaign: a problem, a batch size, an optimiser and a seed, from the first evaluation to the last."""

import contextlib
import io
import logging
import math
import random
import signal
import time
import warnings
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from benchmarks.planning.peers import ENTRIES, Setting
from benchmarks.planning.problem import Problem, Result

DIGITS = 6
LIMIT_S = 3600
"""Wall time of a campaign; an optimiser that hangs is not waited for any longer."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is kept of a campaign.

    Args:
        problem: Its name.
        batch: How many points were asked for at once.
        planner: The optimiser's name.
        version: The version that results are kept under.
        seed: The campaign's seed.
        n: Evaluations made.
        best: Every improvement of the true loss, as (evaluation from 1, loss).
        lost: Evaluations that ended infeasible or failed.
        suggest_s: CPU seconds of the optimiser itself, per evaluation.
        error: What the optimiser raised and when, if it did; the campaign ended there.
    """

    problem: str
    batch: int
    planner: str
    version: str
    seed: int
    n: int
    best: list[tuple[int, float]]
    lost: int
    suggest_s: float
    error: str = ""

    @property
    def key(self) -> tuple[str, int, str, str, int]:
        """What two campaigns never share."""
        return self.problem, self.batch, self.planner, self.version, self.seed

    def best_at(self, n: int) -> float:
        """Return the lowest true loss among the first `n` evaluations; infinite if there is none."""
        return next((loss for at, loss in reversed(self.best) if at <= n), math.inf)

    def reached_at(self, level: float) -> int | None:
        """Return the evaluation that first reached `level`, or None."""
        return next((at for at, loss in self.best if loss <= level + 1e-5 * abs(level)), None)

    def as_json(self) -> dict[str, Any]:
        """Return what is written; an empty error is left out."""
        found = asdict(self)
        return found if self.error else {k: v for k, v in found.items() if k != "error"}


def run(
    problem: Problem,
    batch: int,
    n_evaluations: int,
    planner: str,
    version: str,
    seed: int,
    until: float = -math.inf,
) -> Line:
    """Run one campaign, until a true loss of `until` at the latest; an optimiser that raises ends it and is quoted."""
    entry = next(e for e in ENTRIES if e.name == planner)
    results: list[Result] = []
    own_s, error = 0.0, ""
    _seed_everything(seed)
    with _quiet(), _limited():
        try:
            began = time.process_time()
            peer = entry.start(Setting(problem, seed, batch, n_evaluations))
            while len(results) < n_evaluations and not any(result.true <= until for result in results):
                points = peer.ask(min(batch, n_evaluations - len(results)))
                own_s += time.process_time() - began
                if not points:
                    break
                ended = [problem.evaluate(point, seed, len(results) + k) for k, point in enumerate(points)]
                results += ended
                began = time.process_time()
                peer.tell(ended)
        except Exception as raised:  # noqa: BLE001  whatever it is counts against the optimiser
            error = f"after {len(results)}: {type(raised).__name__}: {raised}"[:300]
    lost = sum(result.outcome != "observed" for result in results)
    suggest_s = float(f"{own_s / max(1, len(results)):.3g}")
    return Line(problem.name, batch, planner, version, seed, len(results), _steps(results), lost, suggest_s, error)


def _steps(results: list[Result]) -> list[tuple[int, float]]:
    steps: list[tuple[int, float]] = []
    for at, result in enumerate(results, 1):
        true = float(f"{result.true:.{DIGITS}g}")
        if result.outcome == "observed" and (not steps or true < steps[-1][1]):
            steps.append((at, true))
    return steps


def _seed_everything(seed: int) -> None:
    """Seed the global generators too: some optimisers draw from them beside their own."""
    random.seed(seed)
    np.random.seed(seed)
    with contextlib.suppress(ImportError):
        import torch

        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]


@contextlib.contextmanager
def _limited() -> Generator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
