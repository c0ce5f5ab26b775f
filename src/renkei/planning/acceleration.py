"""How many times fewer trials (hours, cost) a campaign needs than its baseline to reach the same level.

The acceleration factor is the baseline's effort to reach a level over the campaign's effort to reach it (Rohr et al.
2020, Chem. Sci. 11, 2696; Liang et al. 2021, npj Comput. Mater. 7, 188; Adesiji et al. 2025, Digital Discovery,
doi:10.1039/D5DD00337G). The 95% interval covers what the baseline's own sampling leaves open, and nothing else: the
campaign is one realisation and is taken as it is. With several realisations, `accelerate_replicates` covers both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from renkei.planning._baselines import (
    Band,
    Baseline,
    BestOf,
    Curve,
    Effort,
    Hits,
    Measure,
    Pool,
    Replicates,
    Sampled,
    Step,
    against_of,
    effort_of,
)
from renkei.planning._draws import draws_interval, enhancement, expected_best, expected_draws
from renkei.planning._statistics import expanded_interval, resampled_means

__all__ = [
    "Acceleration",
    "Band",
    "Baseline",
    "BestOf",
    "Bound",
    "Clarity",
    "Curve",
    "Effort",
    "Enhancement",
    "Hits",
    "Measure",
    "Pool",
    "Replicates",
    "Sampled",
    "Step",
    "accelerate",
    "accelerate_replicates",
    "acceleration_curve",
    "against_of",
    "common_level",
    "draws_interval",
    "enhancement",
    "enhancement_curve",
    "expected_best",
    "expected_draws",
    "good_level",
]

GOOD_SHARE = 0.05
"""The share of a baseline's trials that counts as good where enhancement is measured, as in Liang et al. (2021)."""

RULE_OF_THREE = 3.0
"""The largest expected number that is credible at 95% where none was counted: -ln 0.05, rounded."""

Bound = Literal["estimate", "at least", "at most", "unknown"]
"""How a factor is to be read: an estimate, or only a bound because one side never reached the level."""

Clarity = Literal["faster", "slower", "unclear", "unknown"]
"""What a factor and its interval show."""


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

    @property
    def clarity(self) -> Clarity:
        """What is shown: faster or slower where the whole interval, or the bound, is on one side of 1, else unclear.

        An estimate without an interval, for example against a single replicate, shows nothing clearly.
        """
        if self.factor is None:
            return "unknown"
        if self.bound == "at least":
            return "faster" if (self.factor if self.low is None else self.low) > 1.0 else "unclear"
        if self.high is not None and self.high < 1.0:
            return "slower"
        return "faster" if self.low is not None and self.low > 1.0 else "unclear"

    def verdict(self, baseline: str = "its baseline") -> str:
        """Return one sentence for people, without a full stop; `baseline` is what to call the baseline.

        What is not shown is said first, and slower is said as plainly as faster.
        """
        if self.factor is None:
            return f"no comparison with {baseline} is possible at this level"
        if self.bound == "at most":
            slower = "slower than its baseline: " if self.clarity == "slower" else ""
            return f"{slower}did not reach the level: a factor of at most {_shown(self.factor)} against {baseline}"
        if self.bound == "at least":
            if self.clarity == "unclear":
                return f"not shown to be faster than {baseline}, which did not reach the level but was run too little"
            least = self.factor if self.low is None else self.low
            return f"{_ratio(least, self.by, 'at least')} than {baseline}, which did not reach the level"
        interval = " (no interval: it was run once)"
        if self.low is not None and self.high is not None:
            interval = f" (95% interval {_shown(self.low)} to {_shown(self.high)})"
        if self.factor < 1.0:
            lead = "slower than its baseline" if self.clarity == "slower" else "not clearly slower or faster"
            return f"{lead}: {_shown(self.factor)} times the pace of {baseline}{interval}"
        lead = "" if self.clarity == "faster" else "not clearly faster or slower: "
        return f"{lead}{_ratio(self.factor, self.by)} than {baseline}{interval}"


@dataclass(frozen=True, slots=True)
class Enhancement:
    """How many times more good trials a campaign had than its baseline after as many trials.

    Args:
        n: After how many trials.
        found: The campaign's good trials among them.
        expected: Those expected of the baseline; what follows refers to it.
        factor: found / expected; None when the baseline is expected to find none.
        low: Lower end of the 95% interval from the baseline's sampling; None when open.
        high: Upper end; None when open.
    """

    n: int
    found: int
    expected: float
    factor: float | None
    low: float | None
    high: float | None

    @property
    def clarity(self) -> Clarity:
        """What is shown; see `Acceleration.clarity`."""
        if self.factor is None:
            return "unknown"
        if self.high is not None and self.high < 1.0:
            return "slower"
        return "faster" if self.low is not None and self.low > 1.0 else "unclear"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; every number in it is finite or null."""
        return {
            "n": self.n,
            "found": self.found,
            "expected": self.expected,
            "factor": _finite(self.factor),
            "ci95": [_finite(self.low), _finite(self.high)],
        }


def accelerate(campaign: Curve, baseline: Baseline, level: float | None = None, by: Measure = "trials") -> Acceleration:
    """Return how many times less effort `campaign` needed than `baseline` to reach `level`.

    Args:
        campaign: The campaign's trials.
        baseline: `Sampled`, `Pool` or `Replicates`.
        level: A loss; by default `common_level`.
        by: What effort is counted in. Nothing can be said by hours or cost that were not recorded.
    """
    level = common_level(campaign, baseline) if level is None else level
    if level is None:
        return Acceleration(None, None, None, None, "unknown", effort_of(campaign.steps, by), None, by)
    needed = campaign.effort_to(level, by)
    effort = effort_of(campaign.steps, by) if needed is None else needed
    expected = baseline.effort_to(level, by)
    if expected is None or expected.expected <= 0.0 or effort <= 0.0 or (needed is None and not expected.reached):
        known = None if expected is None else expected.expected
        return Acceleration(None, None, None, level, "unknown", effort, known, by)
    low = None if expected.low is None or needed is None else expected.low / effort
    high = None if expected.high is None else expected.high / effort
    bound: Bound = "at most" if needed is None else "estimate" if expected.reached else "at least"
    return Acceleration(expected.expected / effort, low, high, level, bound, effort, expected.expected, by)


def common_level(campaign: Curve, baseline: Baseline) -> float | None:
    """Return the loss to compare at, None when the campaign has none to offer.

    It is the campaign's `reach` if the campaign reached that. It also is if the baseline is expected to reach it in no
    more trials than the campaign took in vain. Otherwise it is the best loss that the campaign found.
    """
    level = campaign.level()
    if campaign.reach is not None and level != campaign.reach and campaign.steps:
        expected = baseline.effort_to(campaign.reach)
        if expected is not None and expected.reached and expected.expected <= len(campaign.steps):
            return campaign.reach
    return level


def acceleration_curve(campaign: Curve, baseline: Baseline, by: Measure = "trials") -> list[Acceleration]:
    """Return the acceleration at every level from easy to hard, at most about 25 of them.

    The levels are the baseline's, so that the campaign's luck does not choose them, and the best that the campaign
    found. They end at the campaign's `reach` where one of the two reached it: what lies beyond nobody was after.
    Intervals are pointwise.
    """
    levels, best, reach = set(baseline.levels()), campaign.best(), campaign.reach
    if best is not None:
        levels.add(best)
    if reach is not None and levels and min(levels) <= reach:
        levels = {level for level in levels if level > reach} | {reach}
    return [accelerate(campaign, baseline, level, by) for level in sorted(levels, reverse=True)]


def accelerate_replicates(
    campaigns: Sequence[Curve], baseline: Baseline, level: float, by: Measure = "trials"
) -> Acceleration:
    """Return how many times less effort campaigns of one kind need on average than `baseline` to reach `level`.

    The factor is the baseline's expected effort over the mean of the campaigns'. The interval covers the luck of both:
    percentiles of the ratio, campaigns and baseline resampled. Campaigns that did not reach the level count with all
    they spent, which makes the factor an upper bound.

    Args:
        campaigns: Realisations of one campaign, each with another seed.
        baseline: What they are compared with.
        level: A loss.
        by: What effort is counted in.
    """
    curves = [curve for curve in campaigns if curve.steps]
    ended = [curve.effort_to(level, by) for curve in curves]
    spent = [effort_of(c.steps, by) if e is None else e for c, e in zip(curves, ended, strict=True)]
    expected = baseline.effort_to(level, by)
    mean = fmean(spent) if spent else None
    missed = None in ended
    if not mean or expected is None or expected.expected <= 0.0 or (missed and not expected.reached):
        known = None if expected is None else expected.expected
        return Acceleration(None, None, None, level, "unknown", mean, known, by)
    own, theirs = resampled_means(spent), baseline.draws(level, by) or [expected.expected]
    ratios = [theirs[i - 1 if len(theirs) > 1 else 0] / each for i, each in enumerate(own) if each > 0.0]  # not paired
    low, high = expanded_interval(ratios, len(spent)) if len(spent) > 1 and ratios else (None, None)
    bound: Bound = "at most" if missed else "estimate" if expected.reached else "at least"
    return Acceleration(
        expected.expected / mean,
        None if missed else low,
        high if expected.reached else None,
        level,
        bound,
        mean,
        expected.expected,
        by,
    )


def good_level(losses: Sequence[float | None], share: float = GOOD_SHARE) -> float | None:
    """Return the loss that the best `share` of trials reach, rounded up to whole trials; None when too few have one.

    Liang et al. (2021) count the best 5% of a pool.
    """
    known = sorted(loss for loss in losses if loss is not None and math.isfinite(loss))
    n_good = math.ceil(share * len(losses))
    return known[n_good - 1] if 0 < n_good <= len(known) else None


def enhancement_curve(campaign: Curve, baseline: Baseline, level: float) -> list[Enhancement]:
    """Return the enhancement factor at `level` after each of some trials, evenly spaced in their logarithm.

    It is the number of the campaign's trials at `level` or better over the baseline's after as many (Rohr et al. 2020;
    Liang et al. 2021, where the level is the best 5% of a pool). Intervals are pointwise, and those of the baseline's
    number alone; but where the campaign has none yet, up to 3 remain credible.
    """
    found: list[Enhancement] = []
    n_steps = len(campaign.steps)
    for n in sorted({round(math.pow(n_steps, i / 19)) for i in range(20)}) if n_steps else ():
        hits = baseline.hits(level, n)
        if hits is None:
            continue
        n_good = sum(step.reaches(level) for step in campaign.steps[:n])
        factor = n_good / hits.expected if hits.expected > 0.0 else None
        low = n_good / hits.high if hits.high else None
        high = (n_good or RULE_OF_THREE) / hits.low if hits.low else None
        found.append(Enhancement(n, n_good, hits.expected, factor, low, high))
    return found


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None


def _ratio(factor: float, by: Measure, bound: str = "") -> str:
    less = "less cost" if by == "cost" else f"fewer {by}"
    return f"{bound} {_shown(factor)} times {less}".strip()


def _shown(x: float) -> str:
    return f"{x:.2f}" if x < 1.0 else f"{x:.1f}" if x < 100.0 else f"{x:.0f}"
