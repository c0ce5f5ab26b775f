"""Several objectives at once: the Pareto front, its hypervolume, and one joint loss."""

import math
from collections.abc import Mapping, Sequence

from renkei.errors import UsageError
from renkei.model.space import Constraint, Objective, feasible


def losses(outputs: Mapping[str, float], objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Return the loss of each objective; None when an output is missing or not finite."""
    values = [outputs.get(o.output, math.nan) for o in objectives]
    if not all(math.isfinite(value) for value in values):
        return None
    return tuple(o.loss(value) for o, value in zip(objectives, values, strict=True))


def pareto_front(
    outputs: Sequence[Mapping[str, float]], objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
) -> list[int]:
    """Return the places in `outputs` of those that no other dominates, best in the first objective first.

    Outputs that break a constraint, or lack an objective's output, neither belong to the front nor dominate. Equal
    outputs do not dominate each other.
    """
    entries = [
        (loss, place)
        for place, each in enumerate(outputs)
        if feasible(each, constraints) and (loss := losses(each, objectives)) is not None
    ]
    front: list[tuple[tuple[float, ...], int]] = []
    # In lexicographic order whatever dominates an entry comes before it.
    for loss, place in sorted(entries):
        if not any(all(a <= b for a, b in zip(kept, loss, strict=True)) and kept != loss for kept, _ in front):
            front.append((loss, place))
    return [place for _, place in front]


def hypervolume(front: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume that losses dominate up to a reference point, in the product of the objectives' units.

    By slicing along the first objective, exact for any number of objectives; two cost n log n, each further one a
    factor of n more.

    Args:
        front: Losses, n x n_objectives; dominated ones do no harm, and those not below `reference` add nothing.
        reference: The worst losses that count, n_objectives.
    """
    inside = [tuple(loss) for loss in front if all(a < r for a, r in zip(loss, reference, strict=True))]
    return _volume(sorted(inside), tuple(reference))


def _volume(points: list[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - points[0][0]
    if len(reference) == 2:
        return _area(points, reference)
    total = 0.0
    for at, point in enumerate(points):
        end = points[at + 1][0] if at + 1 < len(points) else reference[0]
        if end > point[0]:
            total += (end - point[0]) * _volume(sorted(p[1:] for p in points[: at + 1]), reference[1:])
    return total


def _area(points: list[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    total, ceiling = 0.0, reference[1]
    for x, y in points:
        if y < ceiling:
            total += (reference[0] - x) * (ceiling - y)
            ceiling = y
    return total


class Yardstick:
    """Measures how good a trial is in one number, the loss, whatever the number of objectives.

    One objective: its loss, and `reach` is its own. Several: the largest of (loss_i - reach_i) / scale_i over the
    objectives that have a `reach` (the achievement function of Wierzbicki 1980), which is at most 0 exactly when all of
    them are reached, so `reach` is 0. Several of which none has a `reach`: the best loss in `scale_from` stands in for
    each reach_i, the loss is then the Chebyshev distance from the best of everything, and `reach` is None.

    Args:
        objectives: At least one.
        constraints: What outputs must satisfy; a trial that breaks one has no loss.
        scale_from: Outputs of trials whose spread gives each scale_i, for example the baseline's. Without at least two
            different values the scale is 1.

    Raises:
        UsageError: There are several objectives, none has a `reach`, and `scale_from` has no feasible outputs.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint] = (),
        scale_from: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self._constraints = tuple(constraints)
        self._objectives = tuple(objectives)
        if len(objectives) == 1:
            self.reach = objectives[0].reach_loss
            self._aims, self._scales = [0.0], [1.0]
            return
        if wanted := tuple(o for o in objectives if o.reach_loss is not None):
            self._objectives = wanted
        self.reach: float | None = 0.0 if wanted else None
        known = [
            loss
            for each in scale_from
            if feasible(each, constraints) and (loss := losses(each, self._objectives)) is not None
        ]
        if not wanted and not known:
            raise UsageError(
                "Without a `reach` several objectives cannot be measured in one number.",
                "Give an objective a `reach`, or run a baseline to compare with.",
            )
        columns: list[tuple[float, ...]] = list(zip(*known, strict=True)) or [(0.0,)] * len(self._objectives)
        self._aims = [
            min(column) if o.reach_loss is None else o.reach_loss
            for o, column in zip(self._objectives, columns, strict=True)
        ]
        self._scales = [(max(column) - min(column)) or 1.0 for column in columns]

    def loss(self, outputs: Mapping[str, float]) -> float | None:
        """Return the loss of one trial's outputs; None when it breaks a constraint or lacks an objective's output."""
        values = losses(outputs, self._objectives)
        if values is None or not feasible(outputs, self._constraints):
            return None
        return max((v - aim) / scale for v, aim, scale in zip(values, self._aims, self._scales, strict=True))
