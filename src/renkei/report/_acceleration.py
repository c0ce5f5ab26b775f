"""How much faster than its baseline a campaign was, by trials, hours and cost, from what their ledgers tell."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from renkei.home._home import site_of_baseline
from renkei.model.quantity import MICRO
from renkei.model.space import Space, Value
from renkei.planning.acceleration import (
    Acceleration,
    Band,
    Baseline,
    BestOf,
    Curve,
    Enhancement,
    Measure,
    Pool,
    Step,
    accelerate,
    acceleration_curve,
    against_of,
    common_level,
    enhancement_curve,
    good_level,
)
from renkei.report._history import History
from renkei.report._view import CampaignView

MEASURES: tuple[Measure, ...] = ("trials", "hours", "cost")


@dataclass(frozen=True, slots=True)
class Progress:
    """The best loss so far after each of some trials: the campaign's, and the baseline's with its spread.

    Args:
        trials: After how many trials, rising.
        campaign: The campaign's; None before the first that it has.
        baselines: By the single site that a baseline ran at ("" at all): the band of its campaigns. Of a baseline that
            learns it holds all of them; of another it holds 95% of those that its trials could have made.
    """

    trials: tuple[int, ...]
    campaign: tuple[float | None, ...]
    baselines: Mapping[str, tuple[Band, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        ends = ("low", "median", "high")
        bands = {
            site: {end: [each[i] for each in band] for i, end in enumerate(ends)}
            for site, band in self.baselines.items()
        }
        return {"trials": list(self.trials), "campaign": list(self.campaign), "baselines": bands}


@dataclass(frozen=True, slots=True)
class Accelerations:
    """A campaign against its baseline.

    Args:
        baseline: What the baseline is called; None when there is no baseline.
        curve: The campaign's trials in the order in which they ended; None when they cannot be measured in one number.
        baseline_steps: All trials of all baseline campaigns.
        by: The comparison by each measure; None where none can be made.
        cost_unit: The one unit that every run was charged in; None when there are several or none.
        is_exact: Whether trials are compared with every random draw from a pool whose points were all measured.
        why: Why there is no comparison, or by one measure none; empty when all are there.
        against: What it is compared with; None where nothing can be compared.
        n_campaigns: How many campaigns the baseline is.
        learns: Whether the baseline learns, so that each of its campaigns is one sample.
        is_shared: Whether baseline and campaign were at work at the same time, so that hours of both are too long.
        single: Of a baseline at single sites: the campaign against each of them, by site.
        best_site: Of such a baseline: the site that is the best in hindsight, by measure.
    """

    baseline: str | None
    curve: Curve | None
    baseline_steps: tuple[Step, ...]
    by: dict[Measure, Acceleration | None]
    cost_unit: str | None
    is_exact: bool
    why: str
    against: Baseline | None = None
    n_campaigns: int = 1
    learns: bool = False
    is_shared: bool = False
    single: Mapping[str, dict[Measure, Acceleration | None]] = field(
        default_factory=dict[str, dict[Measure, Acceleration | None]]
    )
    best_site: Mapping[Measure, str] = field(default_factory=dict[Measure, str])

    def curves(self) -> dict[Measure, list[Acceleration]]:
        """Return the acceleration at every level from easy to hard, by each measure that can be compared."""
        if self.curve is None or self.against is None:
            return {}
        return {m: acceleration_curve(self.curve, self.against, m) for m in MEASURES if self.by[m] is not None}

    def enhancements(self) -> tuple[float | None, list[Enhancement]]:
        """Return the loss from which a trial is good, and how many times more of such trials there were after each.

        Nothing of a baseline that learns: it stops at the goal, so that its good trials are few by its own choice.
        """
        level = None if self.learns else good_level([step.loss for step in self.baseline_steps])
        if level is None or self.curve is None or self.against is None:
            return None, []
        return level, enhancement_curve(self.curve, self.against, level)

    def progress(self) -> Progress:
        """Return the best so far of the campaign and its baseline, after trials evenly spaced in their logarithm."""
        n = len(self.curve.steps) if self.curve else 0
        trials = tuple(sorted({round(math.pow(n, i / 39)) for i in range(40)})) if n else ()
        bests = self.curve.best_so_far() if self.curve else []
        against = self.against.baselines if isinstance(self.against, BestOf) else {"": self.against}
        bands = {site: tuple(each.band(at) for at in trials) for site, each in against.items() if each is not None}
        return Progress(trials, tuple(bests[at - 1] for at in trials), bands)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON.

        `baseline`, and for each measure what `Acceleration.to_json` says; `unit` of the cost; `exact`; `why`; `learns`,
        `campaigns` (of the baseline) and `shared_sites`; `single_sites`, by site, and `best_site`, by measure; `curve`,
        by measure, from easy levels to hard ones; `enhancement` with its `level` and `points`; `progress`.
        """
        level, points = self.enhancements()
        return {
            "baseline": self.baseline,
            **_said(self.by),
            "unit": self.cost_unit,
            "exact": self.is_exact,
            "why": self.why,
            "learns": self.learns,
            "campaigns": self.n_campaigns if self.baseline is not None else 0,
            "shared_sites": self.is_shared,
            "single_sites": {site: _said(by) for site, by in self.single.items()},
            "best_site": dict(self.best_site),
            "curve": {measure: [each.to_json() for each in found] for measure, found in self.curves().items()},
            "enhancement": {"level": level, "points": [each.to_json() for each in points]},
            "progress": self.progress().to_json(),
        }


_NOTHING = Acceleration(None, None, None, None, "unknown", None, None).to_json()


def _said(by: Mapping[Measure, Acceleration | None]) -> dict[str, Any]:
    return {name: _NOTHING | {"by": name} if each is None else each.to_json() for name, each in by.items()}


def measure_acceleration(view: CampaignView) -> Accelerations:
    """Return how a campaign compares with its baselines.

    Hours are wall time in which somebody drove the campaign: each trial adds what passed since the one before it
    ended. Cost is what a trial's runs were charged. Where the baseline's trials do not learn from each other, the
    trials of all its campaigns are one sample, and where they measured every point of a pool, the number of random
    draws to a good one is exact. Where it learns, each of its campaigns is one sample. Where it is at single sites, the
    best of them in hindsight is the yardstick.
    """
    unit = _cost_unit((view.history, *view.baselines))
    steps_of = [_steps(view, each, unit) for each in view.baselines]
    steps = tuple(step for each in steps_of for step in each)
    asked = view.definition.baseline if view.baselines else None
    curve = None if view.yardstick is None else Curve(_steps(view, view.history, unit), view.yardstick.reach)
    by: dict[Measure, Acceleration | None] = dict.fromkeys(MEASURES)
    if asked is None or curve is None:
        why = "there is no baseline" if asked is None else "several objectives without a reach, and no trial yet"
        return Accelerations(asked and asked.title, curve, steps, by, unit, False, why)
    by_site: dict[str, list[Curve]] = {}
    for history, each in zip(view.baselines, steps_of, strict=True):
        by_site.setdefault(site_of_baseline(history.path.parent.name), []).append(Curve(each, curve.reach))
    pool = _pool(view, steps) if set(by_site) == {""} and not asked.learns else None
    against = pool or against_of(by_site, asked.learns)
    why = "" if unit else "no cost: runs were charged in several units, or in none"
    best_site: dict[Measure, str] = {}
    alone: Mapping[str, Baseline] = against.baselines if isinstance(against, BestOf) else {}
    level = common_level(curve, against)
    if isinstance(against, BestOf) and level is not None:
        best_site = {m: site for m in MEASURES if (site := against.chosen(level, m)) is not None}
    return Accelerations(
        asked.title,
        curve,
        steps,
        _compared(curve, against, unit, level),
        unit,
        pool is not None,
        why,
        against,
        len(view.baselines),
        asked.learns,
        any(_overlap(view.history, each) for each in view.baselines),
        {site: _compared(curve, each, unit, level) for site, each in alone.items()},
        best_site,
    )


def _compared(
    curve: Curve, against: Baseline, unit: str | None, level: float | None
) -> dict[Measure, Acceleration | None]:
    return {
        measure: None if measure == "cost" and unit is None else accelerate(curve, against, level, measure)
        for measure in MEASURES
    }


def _overlap(first: History, second: History) -> bool:
    """Return whether trials of two campaigns were under way at the same time."""
    spans = [(min(row.at for row in h.trials), max(row.ended_at or row.at for row in h.trials))
             for h in (first, second) if h.trials]  # fmt: skip
    return len(spans) == 2 and max(start for start, _ in spans) < min(end for _, end in spans)


def _steps(view: CampaignView, history: History, unit: str | None) -> list[Step]:
    steps: list[Step] = []
    before = 0.0
    for row in history.ended_trials:
        at = history.driven_s[row.trial]
        cost = sum(run.charge.micro for run in history.runs_of(row)) / MICRO if unit else 0.0
        steps.append(Step(view.loss(row), max(0.0, at - before) / 3600.0, cost))  # a clock may be set back
        before = at
    return steps


def _cost_unit(histories: Iterable[History]) -> str | None:
    units = {run.row.unit for history in histories for run in history.runs.values() if run.charge.micro}
    return units.pop() if len(units) == 1 else None


def _pool(view: CampaignView, steps: Sequence[Step]) -> Pool | None:
    """Return the pool with the loss of every point as the baselines measured it; None when one was not measured."""
    space = view.definition.space
    if space.pool is None:
        return None
    known: dict[tuple[Value, ...], float | None] = {}
    for history in view.baselines:
        for row in history.ended_trials:
            if row.state != "abandoned":
                known.setdefault(_key(space, row.parameters), view.loss(row))
    keys = [_key(space, point) for point in space.pool]
    if not all(key in known for key in keys):
        return None
    hours, cost = (math.fsum(each) / len(steps) for each in ((s.hours for s in steps), (s.cost for s in steps)))
    return Pool([known[key] for key in keys], hours, cost)


def _key(space: Space, point: dict[str, Value]) -> tuple[Value, ...]:
    return tuple(point[name] for name in space.names)


def best_so_far(losses: Sequence[float | None]) -> list[float | None]:
    """Return the lowest loss up to each trial; None before the first that has one."""
    return Curve([Step(loss) for loss in losses]).best_so_far()
