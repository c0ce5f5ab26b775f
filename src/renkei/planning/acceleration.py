"""How many times fewer trials (hours, cost) a campaign needs than its baseline to reach the same level.

The acceleration factor is the baseline's effort to reach a level over the campaign's effort to reach it (Rohr et al.
2020, Chem. Sci. 11, 2696; Liang et al. 2021, npj Comput. Mater. 7, 188; Adesiji et al. 2025). The 95% interval covers
what the baseline's own sampling leaves open, and nothing else: the campaign is one realisation and is taken as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from renkei.errors import UsageError
from renkei.planning._statistics import bootstrap_mean_interval, draws_quantile, jeffreys_interval, none_in

Measure = Literal["trials", "hours", "cost"]
"""What effort is counted in."""

Bound = Literal["estimate", "at least", "at most", "unknown"]
"""How a factor is to be read: an estimate, or only a bound because one side never reached the level."""


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

    def level(self) -> float | None:
        """Return what to compare at: `reach` if it was reached, else the best loss."""
        best = self.best()
        return self.reach if best is not None and self.reach is not None and best <= self.reach else best

    def effort_to(self, level: float, by: Measure = "trials") -> float | None:
        """Return the effort up to and with the first trial that reaches `level`, or None when none does."""
        for at, step in enumerate(self.steps):
            if step.reaches(level):
                return _effort(self.steps[: at + 1], by)
        return None


@dataclass(frozen=True, slots=True)
class Effort:
    """A baseline's expected effort and its 95% interval; `reached` is False when `expected` is only a lower bound."""

    expected: float
    low: float | None
    high: float | None
    reached: bool = True


class Baseline(Protocol):
    """What a campaign is compared with."""

    def effort_to(self, level: float, by: Measure = "trials") -> Effort | None:
        """Return the expected effort to reach `level`, or None when the baseline says nothing about it."""
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
        each = _effort(self.steps, by) / n
        k = sum(step.reaches(level) for step in self.steps)
        if k == 0:
            least = each / none_in(n)
            return Effort(least, least, None, reached=False)
        p_low, p_high = jeffreys_interval(k, n)
        return Effort(each * n / k, each / p_high, each / p_low)


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
        each = 1.0 if by == "trials" else self.hours if by == "hours" else self.cost
        if each is None:
            raise UsageError(
                f"What a draw from the pool takes in {by} is not known.", "Run the baseline to compare hours or cost."
            )
        n_good = sum(loss is not None and loss <= level for loss in self.losses)
        if n_good == 0:
            return None
        low, high = draws_interval(len(self.losses), n_good)
        return Effort(expected_draws(len(self.losses), n_good) * each, low * each, high * each)


@dataclass(frozen=True, slots=True)
class Replicates:
    """A baseline that learns, from several campaigns of it.

    Expected effort is the mean, its interval the percentiles of the bootstrap over campaigns (none from a single
    one). A campaign that never reached the level counts with all it spent, which makes the result a lower bound.
    """

    curves: Sequence[Curve]

    def effort_to(self, level: float, by: Measure = "trials") -> Effort | None:
        """Return the mean effort to reach `level`; None when there is no campaign or none has a trial."""
        curves = [curve for curve in self.curves if curve.steps]
        if not curves:
            return None
        ended = [curve.effort_to(level, by) for curve in curves]
        spent = [_effort(c.steps, by) if e is None else e for c, e in zip(curves, ended, strict=True)]
        low, high = bootstrap_mean_interval(spent) if len(spent) > 1 else (None, None)
        if None in ended:
            return Effort(sum(spent) / len(spent), low, None, reached=False)
        return Effort(sum(spent) / len(spent), low, high)


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How many times less effort a campaign needed than its baseline.

    Args:
        factor: Baseline's effort over the campaign's; below 1 the campaign was slower. None when nothing can be said.
        low: Lower end of the 95% interval from the baseline's sampling; None when open.
        high: Upper end; None when open.
        level: The loss at which the two are compared; None when the campaign has none to offer.
        bound: "estimate"; "at least" (the baseline never reached the level); "at most" (the campaign did not);
            "unknown".
        campaign_effort: The campaign's effort to the level, all that it spent when it did not get there.
        baseline_effort: The baseline's expected effort to the level.
        by: What effort is counted in.
    """

    factor: float | None
    low: float | None
    high: float | None
    level: float | None
    bound: Bound
    campaign_effort: float | None
    baseline_effort: float | None
    by: Measure = "trials"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; every number in it is finite or null."""
        return {
            "factor": _finite(self.factor),
            "ci95": [_finite(self.low), _finite(self.high)],
            "bound": self.bound,
            "level": _finite(self.level),
            "by": self.by,
            "campaign_effort": _finite(self.campaign_effort),
            "baseline_effort": _finite(self.baseline_effort),
        }

    def verdict(self, baseline: str = "its baseline") -> str:
        """Return one sentence for people, without a full stop; `baseline` is what to call the baseline."""
        if self.factor is None:
            return f"no comparison with {baseline} is possible at this level"
        if self.bound == "at most":
            return f"did not reach the level: a factor of at most {_shown(self.factor)} against {baseline}"
        if self.bound == "at least":
            if self.factor < 1.0:
                return f"not shown to be faster than {baseline}, which never reached the level but was run too little"
            return f"{_ratio(self.factor, self.by, 'at least')} than {baseline}, which never reached the level"
        interval = ""
        if self.low is not None and self.high is not None:
            interval = f" (95% interval {_shown(self.low)} to {_shown(self.high)})"
        if self.factor < 1.0:
            return f"slower than its baseline: {_shown(self.factor)} times the pace of {baseline}{interval}"
        unclear = self.low is not None and self.low < 1.0
        return f"{_ratio(self.factor, self.by)} than {baseline}{', not clearly faster' if unclear else ''}{interval}"


def accelerate(campaign: Curve, baseline: Baseline, level: float | None = None, by: Measure = "trials") -> Acceleration:
    """Return how many times less effort `campaign` needed than `baseline` to reach `level`.

    Args:
        campaign: The campaign's trials.
        baseline: `Sampled`, `Pool` or `Replicates`.
        level: A loss; by default the campaign's `reach` if it reached that, else the best loss that it found.
        by: What effort is counted in. Nothing can be said by hours or cost that were not recorded.
    """
    level = campaign.level() if level is None else level
    if level is None:
        return Acceleration(None, None, None, None, "unknown", _effort(campaign.steps, by), None, by)
    needed = campaign.effort_to(level, by)
    effort = _effort(campaign.steps, by) if needed is None else needed
    expected = baseline.effort_to(level, by)
    if expected is None or expected.expected <= 0.0 or effort <= 0.0 or (needed is None and not expected.reached):
        known = None if expected is None else expected.expected
        return Acceleration(None, None, None, level, "unknown", effort, known, by)
    low = None if expected.low is None or needed is None else expected.low / effort
    high = None if expected.high is None else expected.high / effort
    bound: Bound = "at most" if needed is None else "estimate" if expected.reached else "at least"
    return Acceleration(expected.expected / effort, low, high, level, bound, effort, expected.expected, by)


def expected_draws(n_pool: int, n_good: int) -> float:
    """Return the mean number of random draws without replacement to the first good one: (n_pool + 1) / (n_good + 1).

    Args:
        n_pool: Points in the pool.
        n_good: Those that are good enough, 1 to n_pool.

    Raises:
        UsageError: There is no good point, or more than there are points.
    """
    _check_pool(n_pool, n_good)
    return (n_pool + 1) / (n_good + 1)


def draws_interval(n_pool: int, n_good: int, level: float = 0.95) -> tuple[int, int]:
    """Return the central interval of the number of draws to the first good one, exact (negative hypergeometric).

    Raises:
        UsageError: There is no good point, or more than there are points.
    """
    _check_pool(n_pool, n_good)
    tail = (1.0 - level) / 2.0
    return draws_quantile(n_pool, n_good, tail), draws_quantile(n_pool, n_good, 1.0 - tail)


def enhancement(n_found: int, n_trials: int, n_pool: int, n_good: int) -> float:
    """Return how many times more of a pool's good points were found than by as many random draws (Liang et al. 2021).

    Args:
        n_found: Good points among the trials.
        n_trials: Trials, at least 1.
        n_pool: Points in the pool.
        n_good: Good points in the pool.

    Raises:
        UsageError: There is no trial or no good point, or more of them than there are points.
    """
    _check_pool(n_pool, n_good)
    if not 1 <= n_trials <= n_pool:
        raise UsageError(f"Found {n_trials} trials on a pool of {n_pool}.")
    return (n_found / n_good) / (n_trials / n_pool)


def _check_pool(n_pool: int, n_good: int) -> None:
    if not 1 <= n_good <= n_pool:
        raise UsageError(f"A pool of {n_pool} points cannot have {n_good} good ones to find.")


def _effort(steps: Sequence[Step], by: Measure) -> float:
    if by == "trials":
        return float(len(steps))
    return math.fsum(step.hours if by == "hours" else step.cost for step in steps)


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None


def _ratio(factor: float, by: Measure, bound: str = "") -> str:
    less = "less cost" if by == "cost" else f"fewer {by}"
    return f"{bound} {_shown(factor)} times {less}".strip()


def _shown(x: float) -> str:
    return f"{x:.2f}" if x < 1.0 else f"{x:.1f}" if x < 100.0 else f"{x:.0f}"
