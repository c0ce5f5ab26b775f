"""What random search is expected to find, and the best that is known: the ends of every score."""

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from benchmarks.planning.problem import Array, Problem, drawn

N_DRAWS = {"function": 20_000, "code": 600}
"""Random points by kind of problem; tables are measured as a whole."""


def losses(problem: Problem, folder: Path) -> Array:
    """Return the true losses of random points, or of all rows of a table, in rising order; infinite where infeasible.

    Those of codes are computed once and kept in `folder`.
    """
    if problem.kind != "code":
        return _computed(problem)
    path = folder / "random-codes.json"
    kept: dict[str, list[float | None]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if problem.name not in kept:
        found = _computed(problem)
        kept[problem.name] = [float(f"{v:.5g}") if math.isfinite(v) else None for v in found]
        folder.mkdir(exist_ok=True)
        path.write_text(json.dumps(kept, separators=(",", ":")) + "\n", encoding="utf-8")
    return np.array([math.inf if v is None else v for v in kept[problem.name]])


def expected_best(values: Array, n: int, failing: float = 0.0) -> float:
    """Return the expected lowest of `n` draws without replacement, of which each fails with chance `failing`.

    Exact for the values given: the i-th lowest of M is the lowest drawn with chance C(M - i, n - 1) / C(M, n). Where
    every draw failed or was infeasible, the highest finite value counts.

    Args:
        values: In rising order; infinite ones at the end.
        n: At most as many as there are values.
        failing: The chance that a draw gives nothing.
    """
    finite = np.where(np.isfinite(values), values, values[np.isfinite(values)].max())
    lasting = [math.comb(n, k) * (1 - failing) ** k * failing ** (n - k) for k in range(n + 1)]
    best = [_expected(finite, k) if k and lasting[k] else float(finite[-1]) for k in range(n + 1)]
    return float(np.dot(lasting, best))


def _expected(values: Array, n: int) -> float:
    at = np.arange(len(values) - 1)
    shrinking = np.cumprod(np.maximum(len(values) - at - n, 0) / (len(values) - at - 1))
    return float(n / len(values) * (values[0] + shrinking @ values[1:]))


@cache
def _computed(problem: Problem) -> Array:
    if problem.pool:
        found = [problem.truth(point) for point in problem.pool]
    else:
        parameters, luck = problem.space.parameters, Random(0)
        found = [
            problem.truth(drawn(parameters, [luck.random() for _ in parameters])) for _ in range(N_DRAWS[problem.kind])
        ]
    return np.sort([math.inf if math.isnan(v) else v for v in found])


def best_known(problem: Problem, random: Array, found: Sequence[float]) -> float:
    """Return the minimum where it is known, else the lowest loss that anything here ever found."""
    return problem.minimum if problem.minimum is not None else min(float(random[0]), *found)
