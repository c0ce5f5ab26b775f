# pyright: basic, reportMissingImports=false
"""PHYSBO, as NIMO calls it."""

from collections.abc import Sequence

import numpy as np
import physbo
from benchmarks.planning.peers import Setting
from benchmarks.planning.problem import Result, drawn, encoded

from renkei.model.space import Point

N_INITIAL = 10
N_CANDIDATES = 2048


class PhysboPeer:
    """Expected improvement over a list of candidates with an exact Gaussian process, refitted for every batch.

    PHYSBO's fast search is over lists, so a space without a pool becomes a scrambled Sobol sequence, a new one for each
    seed, as its users do. Candidates that failed or are infeasible are taken off the list.
    """

    def __init__(self, setting: Setting) -> None:
        self._space = setting.problem.space
        self._seed = setting.seed
        self._points = list(setting.problem.pool) or self._grid()
        self._features = physbo.misc.centering(encoded(self._space.parameters, self._points))
        self._rng = np.random.default_rng(setting.seed)
        self._left = np.arange(len(self._points))
        self._asked: list[int] = []
        self._known: list[int] = []
        self._values: list[float] = []

    def ask(self, n: int) -> list[Point]:
        """Return `n` of the candidates left."""
        n = min(n, len(self._left))
        self._asked = self._first(n) if len(self._known) < N_INITIAL else self._searched(n)
        self._left = np.setdiff1d(self._left, self._asked)
        return [dict(self._points[index]) for index in self._asked]

    def tell(self, results: Sequence[Result]) -> None:
        """Keep what was observed."""
        for index, result in zip(self._asked, results, strict=True):
            if result.outcome == "observed":
                self._known.append(index)
                self._values.append(-result.seen)

    def _first(self, n: int) -> list[int]:
        return [int(index) for index in self._rng.choice(self._left, n, replace=False)]

    def _searched(self, n: int) -> list[int]:
        """Return what PHYSBO chooses among the candidates left, its data being those that were observed."""
        rows = np.concatenate([np.asarray(self._known, dtype=int), self._left])
        n_known = len(self._known)
        policy = physbo.search.discrete.Policy(
            test_X=self._features[rows], initial_data=[np.arange(n_known), np.asarray(self._values)]
        )
        policy.set_seed(self._seed * 1000 + n_known)
        chosen = policy.bayes_search(
            max_num_probes=1,
            num_search_each_probe=n,
            simulator=None,
            score="EI",
            interval=0,
            num_rand_basis=0,
            is_disp=False,
        )
        return [int(rows[index]) for index in chosen]

    def _grid(self) -> list[Point]:
        from scipy.stats.qmc import Sobol

        shares = Sobol(len(self._space.parameters), rng=self._seed).random(N_CANDIDATES)
        points = [drawn(self._space.parameters, share.tolist()) for share in shares]
        return list({tuple(point.values()): point for point in points}.values())
