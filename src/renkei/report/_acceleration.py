"""How much faster than its baseline a campaign was, by trials, hours and cost, from what their ledgers tell."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from renkei.model.quantity import MICRO
from renkei.model.space import Space, Value
from renkei.planning.acceleration import Acceleration, Curve, Measure, Pool, Sampled, Step, accelerate
from renkei.report._history import History
from renkei.report._view import CampaignView

MEASURES: tuple[Measure, ...] = ("trials", "hours", "cost")


@dataclass(frozen=True, slots=True)
class Accelerations:
    """A campaign against its baseline.

    Args:
        baseline: The baseline's planner; None when there is no baseline.
        curve: The campaign's trials in the order in which they ended; None when they cannot be measured in one number.
        baseline_steps: All trials of all baseline campaigns.
        by: The comparison by each measure; None where none can be made.
        cost_unit: The one unit that every run was charged in; None when there are several or none.
        is_exact: Whether trials are compared with every random draw from a pool whose points were all measured.
        why: Why there is no comparison, or by one measure none; empty when all are there.
    """

    baseline: str | None
    curve: Curve | None
    baseline_steps: tuple[Step, ...]
    by: dict[Measure, Acceleration | None]
    cost_unit: str | None
    is_exact: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: the baseline's planner, and for each measure what `Acceleration.to_json` says."""
        said = {name: _NOTHING | {"by": name} if each is None else each.to_json() for name, each in self.by.items()}
        return {"baseline": self.baseline, **said, "unit": self.cost_unit, "exact": self.is_exact, "why": self.why}


_NOTHING = Acceleration(None, None, None, None, "unknown", None, None).to_json()


def measure_acceleration(view: CampaignView) -> Accelerations:
    """Return how a campaign compares with its baselines.

    Hours are wall time in which somebody drove the campaign: each trial adds what passed since the one before it
    ended. Cost is what a trial's runs were charged. The baseline's trials do not learn from each other, so that the
    trials of all its campaigns are one sample; where they measured every point of a pool, the number of random draws
    to a good one is exact.
    """
    unit = _cost_unit((view.history, *view.baselines))
    steps = tuple(step for each in view.baselines for step in _steps(view, each, unit))
    planner = view.definition.baseline.planner if view.definition.baseline and view.baselines else None
    curve = None if view.yardstick is None else Curve(_steps(view, view.history, unit), view.yardstick.reach)
    by: dict[Measure, Acceleration | None] = dict.fromkeys(MEASURES)
    if planner is None or curve is None:
        why = "there is no baseline" if planner is None else "several objectives without a reach, and no trial yet"
        return Accelerations(planner, curve, steps, by, unit, False, why)
    pool = _pool(view, steps)
    baseline = pool or Sampled(steps)
    by["trials"] = accelerate(curve, baseline)
    by["hours"] = accelerate(curve, baseline, by="hours")
    if unit is not None:
        by["cost"] = accelerate(curve, baseline, by="cost")
    why = "" if unit else "no cost: runs were charged in several units, or in none"
    return Accelerations(planner, curve, steps, by, unit, pool is not None, why)


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
    best: list[float | None] = []
    lowest: float | None = None
    for loss in losses:
        lowest = loss if lowest is None or (loss is not None and loss < lowest) else lowest
        best.append(lowest)
    return best
