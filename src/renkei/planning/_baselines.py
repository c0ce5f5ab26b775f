"""What a campaign is compared with: searches that do not learn, one that does, and the best of several in hindsight."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal, Protocol

from renkei.errors import UsageError
from renkei.planning._draws import draws_interval, expected_best, expected_draws, finite_loss, hits_interval
from renkei.planning._statistics import (
    N_DRAWS,
    draws_of_rarity,
    draws_quantile,
    expanded_interval,
    jeffreys_interval,
    none_in,
    resampled_means,
)

Measure = Literal["trials", "hours", "cost"]
"""What effort is counted in."""

_N_LEVELS = 20
"""How many levels a baseline offers at most to be compared at."""


@dataclass(frozen=True, slots=True)
class Step:
    """One trial as acceleration sees it.

    Args:
        loss: The number to minimise; None when the trial has none (infeasible, abandoned, a constraint broken).
        hours: What the trial adds to the hours. For the wall time of a parallel campaign give each trial's
            addition to it.
        cost: What the trial adds to the cost, in one unit throughout.
    """

    loss: float | None
    hours: float = 0.0
    cost: float = 0.0

    def reaches(self, level: float) -> bool:
        """Return whether the trial is at least as good as `level`."""
        return self.loss is not None and self.loss <= level


@dataclass(frozen=True, slots=True)
class Curve:
    """A campaign's trials in the order in which they ended, and the loss that it is after, if any."""

    steps: Sequence[Step]
    reach: float | None = None

    def best(self) -> float | None:
        """Return the lowest loss, or None when no trial has one."""
        return min((s.loss for s in self.steps if s.loss is not None and math.isfinite(s.loss)), default=None)

    def best_so_far(self) -> list[float | None]:
        """Return the lowest loss up to each trial; None before the first that has one."""
        found: list[float | None] = []
        lowest: float | None = None
        for step in self.steps:
            lowest = step.loss if step.loss is not None and (lowest is None or step.loss < lowest) else lowest
            found.append(lowest)
        return found

    def level(self) -> float | None:
        """Return what to compare at: `reach` if it was reached, else the best loss."""
        best = self.best()
        return self.reach if best is not None and self.reach is not None and best <= self.reach else best

    def effort_to(self, level: float, by: Measure = "trials") -> float | None:
        """Return the effort up to and with the first trial that reaches `level`, or None when none does."""
        for at, step in enumerate(self.steps):
            if step.reaches(level):
                return effort_of(self.steps[: at + 1], by)
        return None


@dataclass(frozen=True, slots=True)
class Effort:
    """A baseline's expected effort and its 95% interval; `reached` is False when `expected` is only a lower bound."""

    expected: float
    low: float | None
    high: float | None
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Hits:
    """How many of a baseline's first trials are expected to reach a level, and the 95% interval of that."""

    expected: float
    low: float | None
    high: float | None


Band = tuple[float | None, float | None, float | None]
"""Low end, median and high end of a best loss so far; None where there is none yet."""


class Baseline(Protocol):
    """What a campaign is compared with."""

    def effort_to(self, level: float, by: Measure = "trials") -> Effort | None:
        """Return the expected effort to reach `level`, or None when the baseline says nothing about it."""
        ...

    def draws(self, level: float, by: Measure = "trials") -> list[float]:
        """Return expected efforts as its own sampling leaves them open, `N_DRAWS` of them, always the same ones.

        Empty where it says nothing about the level, or only a bound.
        """
        ...

    def hits(self, level: float, n: int) -> Hits | None:
        """Return how many of its first `n` trials reach `level`; None when it says nothing about that."""
        ...

    def levels(self) -> list[float]:
        """Return losses from easy to the best that it found, about evenly spaced in how hard they are."""
        ...

    def band(self, n: int) -> Band:
        """Return how the best loss after `n` trials spreads over its campaigns; nothing where there are none."""
        ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """A baseline whose trials do not learn from each other (random, Sobol), from trials that were really run.

    With k of n trials at the level, expected effort is the effort of all n over k. The interval is that of the
    probability of a hit: Jeffreys' 95% interval. With k = 0, 1 - 0.05^(1/n) bounds that probability from above,
    one-sided at 95%, and the effort is only known to be at least what follows from it.
    """

    steps: Sequence[Step]

    def effort_to(self, level: float, by: Measure = "trials") -> Effort | None:
        """Return the expected effort to the first trial that reaches `level`; None when no trial was run."""
        n = len(self.steps)
        if n == 0:
            return None
        each = effort_of(self.steps, by) / n
        k = self._n_good(level)
        if k == 0:
            least = each / none_in(n)
            return Effort(least, least, None, reached=False)
        p_low, p_high = jeffreys_interval(k, n)
        return Effort(each * n / k, each / p_high, each / p_low)

    def draws(self, level: float, by: Measure = "trials") -> list[float]:
        """Return efforts from draws of the probability of a hit: Beta(k + 1/2, n - k + 1/2), Jeffreys' posterior."""
        n, k = len(self.steps), self._n_good(level)
        if k == 0:
            return []
        each = effort_of(self.steps, by) / n
        return [each * rarity for rarity in draws_of_rarity(k, n)]

    def hits(self, level: float, n: int) -> Hits | None:
        """Return n times the probability of a hit, with Jeffreys' interval; None when no trial was run."""
        n_all, k = len(self.steps), self._n_good(level)
        if n_all == 0:
            return None
        p_low, p_high = (0.0, none_in(n_all)) if k == 0 else jeffreys_interval(k, n_all)
        return Hits(n * k / n_all, n * p_low, n * p_high)

    def levels(self) -> list[float]:
        """Return quantiles of its losses, each about as many times rarer than the one before."""
        return _rarer_and_rarer([step.loss for step in self.steps])

    def band(self, n: int) -> Band:
        """Return the median and 95% of the lowest of `n` of its trials, drawn with replacement."""
        losses = sorted(math.inf if step.loss is None else step.loss for step in self.steps)
        return _three(lambda q: expected_best(losses, n, q)) if losses else (None, None, None)

    def _n_good(self, level: float) -> int:
        return sum(step.reaches(level) for step in self.steps)


@dataclass(frozen=True, slots=True)
class Pool:
    """Random draws without replacement from a pool whose losses are all known; exact, nothing is run.

    The interval holds 95% of random campaigns, in equal tails.

    Args:
        losses: The loss of every point of the pool, None where it has none.
        hours: What a draw takes on average; None where that is not known.
        cost: What a draw costs on average; None where that is not known.
    """

    losses: Sequence[float | None]
    hours: float | None = None
    cost: float | None = None

    def effort_to(self, level: float, by: Measure = "trials") -> Effort | None:
        """Return the expected effort of draws to the first point at `level`; None when the pool has none.

        Raises:
            UsageError: What a draw takes of `by` is not known.
        """
        each = self._each(by)
        n_good = self._n_good(level)
        if n_good == 0:
            return None
        low, high = draws_interval(len(self.losses), n_good)
        return Effort(expected_draws(len(self.losses), n_good) * each, low * each, high * each)

    def draws(self, level: float, by: Measure = "trials") -> list[float]:
        """Return the expected effort again and again: it is known.

        Raises:
            UsageError: What a draw takes of `by` is not known.
        """
        found = self.effort_to(level, by)
        return [] if found is None else [found.expected] * N_DRAWS

    def hits(self, level: float, n: int) -> Hits | None:
        """Return the mean and the central 95% of the hypergeometric number of hits in `n` draws; None beyond it."""
        n_pool, n_good = len(self.losses), self._n_good(level)
        if not 1 <= n <= n_pool:
            return None
        low, high = hits_interval(n_pool, n_good, n)
        return Hits(n * n_good / n_pool, low, high)

    def levels(self) -> list[float]:
        """Return quantiles of its losses, each about as many times rarer than the one before."""
        return _rarer_and_rarer(self.losses)

    def band(self, n: int) -> Band:
        """Return the median and 95% of the lowest of `n` draws, exact."""
        losses = sorted(math.inf if loss is None else loss for loss in self.losses)
        n = min(n, len(losses))  # the lowest of n is above the k-th as often as k draws find none of n good ones
        return _three(lambda q: finite_loss(losses[draws_quantile(len(losses), n, q) - 1]))

    def _n_good(self, level: float) -> int:
        return sum(loss is not None and loss <= level for loss in self.losses)

    def _each(self, by: Measure) -> float:
        each = 1.0 if by == "trials" else self.hours if by == "hours" else self.cost
        if each is None:
            raise UsageError(
                f"What a draw from the pool takes in {by} is not known.", "Run the baseline to compare hours or cost."
            )
        return each


@dataclass(frozen=True, slots=True)
class Replicates:
    """A baseline that learns, from several campaigns of it.

    Expected effort is the mean, its interval the expanded percentiles of the bootstrap over campaigns (none from a
    single one; see `expanded_interval`). A campaign that never reached the level counts with all it spent, which makes
    the result a lower bound.
    """

    curves: Sequence[Curve]

    def effort_to(self, level: float, by: Measure = "trials") -> Effort | None:
        """Return the mean effort to reach `level`; None when there is no campaign or none has a trial."""
        spent, is_reached = self._spent(level, by)
        if not spent:
            return None
        low, high = expanded_interval(resampled_means(spent), len(spent)) if len(spent) > 1 else (None, None)
        return Effort(fmean(spent), low, high if is_reached else None, is_reached)

    def draws(self, level: float, by: Measure = "trials") -> list[float]:
        """Return the mean efforts of resampled campaigns; of a single campaign, its effort again and again."""
        spent, is_reached = self._spent(level, by)
        return resampled_means(spent) if spent and is_reached else []

    def hits(self, level: float, n: int) -> Hits | None:
        """Return the mean number of hits among the first `n` trials of those campaigns that have as many."""
        counts = [float(sum(s.reaches(level) for s in c.steps[:n])) for c in self.curves if len(c.steps) >= n]
        if not counts:
            return None
        low, high = expanded_interval(resampled_means(counts), len(counts)) if len(counts) > 1 else (None, None)
        return Hits(fmean(counts), low, high)

    def levels(self) -> list[float]:
        """Return some of the losses by which a campaign of it surpassed itself."""
        records = {loss for curve in self.curves for loss in curve.best_so_far() if loss is not None}
        return _spread([loss for loss in sorted(records, reverse=True) if math.isfinite(loss)])

    def band(self, n: int) -> Band:
        """Return the lowest, the median and the highest best loss of its campaigns after `n` trials each.

        A campaign that ended before keeps what it had.
        """
        bests = [curve.best_so_far()[: max(1, n)][-1] for curve in self.curves if curve.steps]
        last = sorted(math.inf if best is None else best for best in bests)
        return (finite_loss(last[0]), finite_loss(median(last)), finite_loss(last[-1])) if last else (None, None, None)

    def _spent(self, level: float, by: Measure) -> tuple[list[float], bool]:
        """Return what each campaign spent up to the level, and whether all of them reached it."""
        curves = [curve for curve in self.curves if curve.steps]
        ended = [curve.effort_to(level, by) for curve in curves]
        spent = [effort_of(c.steps, by) if e is None else e for c, e in zip(curves, ended, strict=True)]
        return spent, None not in ended


@dataclass(frozen=True, slots=True)
class BestOf:
    """The best of several baselines in hindsight, for example of every site alone: who could have known?

    At each level, and by each measure, the one with the least expected effort is the yardstick, with its interval. That
    it was chosen by its luck, too, makes the yardstick a little too strict, never too mild.

    Args:
        baselines: By name, at least one.
    """

    baselines: Mapping[str, Baseline]

    def chosen(self, level: float, by: Measure = "trials") -> str | None:
        """Return the name of the best at a level; None when no baseline says anything about it."""
        efforts = {name: effort for name, b in self.baselines.items() if (effort := b.effort_to(level, by)) is not None}
        return min(efforts, key=lambda name: (efforts[name].expected, not efforts[name].reached), default=None)

    def effort_to(self, level: float, by: Measure = "trials") -> Effort | None:
        """Return the expected effort of the best; a lower bound where that of the best is one."""
        name = self.chosen(level, by)
        return None if name is None else self.baselines[name].effort_to(level, by)

    def draws(self, level: float, by: Measure = "trials") -> list[float]:
        """Return the least of every draw of those that reached the level."""
        known = [draws for each in self.baselines.values() if (draws := each.draws(level, by))]
        return [min(together) for together in zip(*known, strict=True)]

    def hits(self, level: float, n: int) -> Hits | None:
        """Return the hits of the one that has most."""
        known = [hits for each in self.baselines.values() if (hits := each.hits(level, n)) is not None]
        return max(known, key=lambda hits: hits.expected, default=None)

    def levels(self) -> list[float]:
        """Return some of the levels that its baselines offer."""
        return _spread(sorted({level for each in self.baselines.values() for level in each.levels()}, reverse=True))

    def band(self, n: int) -> Band:
        """Return the band of the one whose median is lowest."""
        bands = [each.band(n) for each in self.baselines.values()]
        return min(bands, key=lambda band: math.inf if band[1] is None else band[1])


def against_of(campaigns: Mapping[str, Sequence[Curve]], learns: bool) -> Baseline:
    """Return the baseline that campaigns make.

    Args:
        campaigns: By the single site that they were run at; "" alone where they were run at all sites.
        learns: Whether the trials of a campaign build on each other.
    """

    def one(curves: Sequence[Curve]) -> Baseline:
        return Replicates(curves) if learns else Sampled([step for curve in curves for step in curve.steps])

    if set(campaigns) == {""}:
        return one(campaigns[""])
    return BestOf({site: one(curves) for site, curves in campaigns.items()})


def effort_of(steps: Sequence[Step], by: Measure) -> float:
    """Return the effort of all of these trials."""
    if by == "trials":
        return float(len(steps))
    return math.fsum(step.hours if by == "hours" else step.cost for step in steps)


def _three(quantile: Callable[[float], float | None]) -> Band:
    return quantile(0.025), quantile(0.5), quantile(0.975)


def _rarer_and_rarer(losses: Sequence[float | None]) -> list[float]:
    """Return losses from the median to the lowest, whose ranks fall by about the same factor each time."""
    known = sorted(loss for loss in losses if loss is not None and math.isfinite(loss))
    if not known:
        return []
    n_levels = min(_N_LEVELS, 1 + round(3 * math.log2(len(known))))
    half = max(1, len(losses) // 2)
    ranks = {round(math.pow(half, 1.0 - i / max(1, n_levels - 1))) for i in range(n_levels)}
    return sorted({known[min(rank, len(known)) - 1] for rank in ranks}, reverse=True)


def _spread(levels: Sequence[float]) -> list[float]:
    """Return at most `_N_LEVELS` of these, the first and the last among them."""
    if len(levels) <= _N_LEVELS:
        return list(levels)
    return [levels[round(i * (len(levels) - 1) / (_N_LEVELS - 1))] for i in range(_N_LEVELS)]
