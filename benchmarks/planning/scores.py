"""Scores, ranks and acceleration of kept campaigns, with bootstrap intervals over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.planning.campaign import Line
from benchmarks.planning.problem import Array
from benchmarks.planning.reference import expected_best

RESAMPLES = 2000
Interval = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """One problem at one batch size: every optimiser's campaigns, and the ends of its scale.

    Args:
        problem: Its name.
        batch: Points asked for at once.
        n: Evaluations of a campaign.
        failing: The chance that a trial fails.
        random: True losses of random points, in rising order.
        best: The best loss that is known.
        lines: Campaigns by optimiser.
    """

    problem: str
    batch: int
    n: int
    failing: float
    random: Array
    best: float
    lines: Mapping[str, Sequence[Line]]

    def expected(self, n: int) -> float:
        """Return what random search is expected to have found after `n` evaluations."""
        return expected_best(self.random, n, self.failing)

    def scores(self, planner: str, n: int | None = None) -> Array:
        """Return each campaign's score after `n` evaluations (all of them by default): (seed,).

        0 is what random search is expected to find with as many, 1 the best that is known; worse than random is below
        0, but never below -1.
        """
        n = n or self.n
        expected, worst = self.expected(n), float(self.random[np.isfinite(self.random)].max())
        found = np.array([min(line.best_at(n), worst) for line in self.lines[planner]])
        return np.maximum((expected - found) / (expected - self.best), -1.0)


@dataclass(frozen=True, slots=True)
class Standing:
    """An optimiser over all problems of one batch size, each with its 95 % interval."""

    planner: str
    median_rank: float
    median_interval: Interval
    mean_rank: float
    mean_interval: Interval
    mean_score: float
    score_interval: Interval


def ranks(scores: Array) -> Array:
    """Return ranks along the first axis, 1 for the highest score; equal scores share the mean of their ranks."""
    rounded = np.round(scores, 6)
    above = (rounded[np.newaxis] > rounded[:, np.newaxis]).sum(axis=1)
    level = (rounded[np.newaxis] == rounded[:, np.newaxis]).sum(axis=1)
    return above + (level + 1) / 2


def standings(cases: Sequence[Case], planners: Sequence[str], seed: int = 0) -> list[Standing]:
    """Return the optimisers' standings, best median rank first; seeds are resampled for intervals."""
    rng = np.random.default_rng(seed)
    exact = np.array([[case.scores(p).mean() for p in planners] for case in cases])  # (case, planner)
    drawn = np.array([[_resampled(case.scores(p), rng) for p in planners] for case in cases])  # (case, planner, draw)
    rank = np.array([ranks(row) for row in exact])
    drawn_rank = np.array([ranks(row) for row in drawn])
    found = [
        Standing(
            planner,
            float(np.median(rank[:, k])),
            _interval(np.median(drawn_rank[:, k], axis=0)),
            float(rank[:, k].mean()),
            _interval(drawn_rank[:, k].mean(axis=0)),
            float(exact[:, k].mean()),
            _interval(drawn[:, k].mean(axis=0)),
        )
        for k, planner in enumerate(planners)
    ]
    return sorted(found, key=lambda s: (s.median_rank, s.mean_rank))


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times fewer evaluations than random an optimiser needs to reach a level of a pool.

    Args:
        factor: Random's expected draws over the optimiser's expected evaluations; 0 where it never got there.
        bound: What the factor is below where it never got there.
        interval: 95 %, over seeds.
        hits: How many campaigns got there.
        n: How many campaigns there are.
        resampled: The factor of each resample.
    """

    factor: float
    bound: float
    interval: Interval
    hits: int
    n: int
    resampled: Array


def speedup(case: Case, planner: str, share: float, seed: int = 0) -> Speedup:
    """Return the acceleration over random draws at the level of the best `share` of a pool (0: at its best row).

    The optimiser's expected evaluations are all that it made, up to the hit or to the end of a campaign, over the
    number of campaigns that hit (expected running time; Hansen et al., Optim. Methods Softw. 36, 114, 2021). Random's
    are exact: (N + 1) / (K + 1) draws for K of N rows, over the share of trials that do not fail.
    """
    n_good = max(1, math.ceil(share * len(case.random)))
    level = float(case.random[n_good - 1])
    n_good = int((case.random <= level).sum())
    blind = (len(case.random) + 1) / (n_good + 1) / (1 - case.failing)
    hits = [line.reached_at(level) for line in case.lines[planner]]
    spent = np.array([case.n if at is None else at for at in hits], dtype=np.float64)
    hit = np.array([at is not None for at in hits], dtype=np.float64)
    rng = np.random.default_rng([seed, *case.problem.encode()])
    draws = rng.integers(0, len(hits), (RESAMPLES, len(hits)))
    resampled = blind * hit[draws].sum(axis=1) / spent[draws].sum(axis=1)
    factor = blind * hit.sum() / spent.sum()
    return Speedup(float(factor), blind / spent.sum(), _interval(resampled), int(hit.sum()), len(hits), resampled)


def median_speedup(found: Sequence[Speedup]) -> tuple[float, Interval]:
    """Return the median over pools and its interval over seeds."""
    return float(np.median([s.factor for s in found])), _interval(np.median([s.resampled for s in found], axis=0))


def median_ratio(pairs: Sequence[tuple[Speedup, Speedup]]) -> tuple[float, Interval]:
    """Return the median over pools of the second factor over the first, and its interval over seeds.

    Where the first is 0 the ratio counts as 0.
    """
    columns = [(np.append(a.resampled, a.factor), np.append(b.resampled, b.factor)) for a, b in pairs]
    ratios = [np.divide(b, a, out=np.zeros_like(b), where=a > 0.0) for a, b in columns]
    *resampled, exact = np.median(ratios, axis=0)
    return float(exact), _interval(np.array(resampled))


def mean_interval(values: Array, seed: int = 0) -> Interval:
    """Return the 95 % bootstrap interval of a mean."""
    return _interval(_resampled(values, np.random.default_rng(seed)))


def _resampled(values: Array, rng: np.random.Generator) -> Array:
    return values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)


def _interval(values: Array) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
