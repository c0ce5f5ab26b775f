"""Objectives and constraints on scaled outputs."""

# pyright: basic, reportPrivateImportUsage=false
# torch ships no complete types.

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from renkei.model.space import Constraint, Objective
from renkei.planning._history import Scale
from renkei.planning._rows import Rows

_MARGIN = 0.2
"""How far beyond the front the reference point lies, in ranges of the front."""


class Goals:
    """What to make small, and what must not be exceeded, as functions of scaled outputs.

    Args:
        objectives: At least one.
        constraints: Bounds; open ones vanish.
        scales: Of every output by name, in the order of the outputs' columns.

    Attributes:
        n_objectives: How many objectives there are.
        bounds: For each finite bound the place of its output, 1 for an upper one or -1 for a lower one, and where.
    """

    def __init__(
        self, objectives: Sequence[Objective], constraints: Sequence[Constraint], scales: Mapping[str, Scale]
    ) -> None:
        self._objectives = objectives
        self._scales = scales
        self._places = {name: place for place, name in enumerate(scales)}
        self.n_objectives = len(objectives)
        # Hypervolumes and distances are meant in the outputs themselves, not in what a scale bends them to.
        self._is_raw = len(objectives) > 1 or objectives[0].goal == "target"
        self.bounds = [bound for constraint in constraints for bound in self._bounds(constraint)]

    @property
    def excesses(self) -> list[Callable[[Tensor], Tensor]]:
        """One function a bound: ... x n_outputs to ..., at most 0 where the bound holds."""
        return [
            lambda outputs, place=place, sign=sign, bound=bound: sign * (outputs[..., place] - bound)
            for place, sign, bound in self.bounds
        ]

    @property
    def is_plain(self) -> bool:
        """Whether there is one objective, to minimise or maximise, whose output has no bound."""
        first = self._objectives[0]
        return (
            self.n_objectives == 1
            and first.goal != "target"
            and all(place != self._places[first.output] for place, _, _ in self.bounds)
        )

    @property
    def plain(self) -> tuple[int, float]:
        """The place of the only objective's output, and 1 to maximise or -1 to minimise it."""
        return self._places[self._objectives[0].output], 1.0 if self._objectives[0].goal == "maximize" else -1.0

    def losses(self, outputs: Tensor) -> Tensor:
        """Return what to minimise: ... x n_outputs to ... x n_objectives."""
        return torch.stack([self._loss(objective, outputs) for objective in self._objectives], dim=-1)

    def intervals(self, losses: Tensor) -> dict[int, tuple[Tensor | None, Tensor | None]]:
        """Return between which scaled outputs every loss is below a given one and every bound holds.

        Args:
            losses: ... x n_objectives.

        Returns:
            For the place of each output that matters, the lower and the upper end, ... or 1; None where it is open.
        """
        lows: dict[int, Tensor] = {}
        highs: dict[int, Tensor] = {}

        def below(place: int, end: Tensor) -> None:
            highs[place] = torch.minimum(highs[place], end) if place in highs else end

        def above(place: int, end: Tensor) -> None:
            lows[place] = torch.maximum(lows[place], end) if place in lows else end

        for at, objective in enumerate(self._objectives):
            loss, place, scale = losses[..., at], self._places[objective.output], self._scales[objective.output]
            bend = (lambda output, scale=scale: _bent(output, scale)) if self._is_raw else (lambda output: output)
            if objective.goal == "minimize":
                below(place, bend(loss))
            elif objective.goal == "maximize":
                above(place, bend(-loss))
            else:
                middle = self._placed(objective.target or 0.0, scale)
                below(place, bend(middle + loss))
                above(place, bend(middle - loss))
        for place, sign, bound in self.bounds:
            end = torch.tensor(bound, dtype=losses.dtype, device=losses.device)
            below(place, end) if sign > 0.0 else above(place, end)
        return {place: (lows.get(place), highs.get(place)) for place in {**lows, **highs}}

    def hoped(self, means: Tensor, deviations: Tensor) -> Tensor:
        """Return the outputs that make losses least within one deviation of the means; all are ... x n_outputs."""
        hoped = means.clone()
        for objective in self._objectives:
            place = self._places[objective.output]
            mean, deviation = means[..., place], deviations[..., place]
            if objective.goal == "target":
                aim = self._scales[objective.output].bound(objective.target or 0.0)
                hoped[..., place] = mean + (aim - mean).maximum(-deviation).minimum(deviation)
            else:
                hoped[..., place] = mean + deviation if objective.goal == "maximize" else mean - deviation
        return hoped

    def ranking(self, outputs: Rows) -> np.ndarray:
        """Return the places of trials, best first: by the sum of their excesses, then by how many others dominate them.

        Args:
            outputs: Scaled and complete, n x n_outputs.
        """
        losses, excess = self._judged(outputs)
        return np.lexsort((_n_dominating(losses), excess))

    def frame(self, outputs: Rows) -> tuple[Tensor, Tensor]:
        """Return the reference point of the hypervolume, as losses, and how far from it the best of each lies.

        In each objective worse than the worst of the front by a share of the front's range, and so much worse than what
        is to be reached, where that is worse still; and at least in the middle of what was seen, lest a first small
        front hide the rest of it. The front is that of all trials, whether constraints hold or not: while few hold, a
        front of those alone would leave out most of what may be found.

        Args:
            outputs: Scaled and complete, n x n_outputs.
        """
        losses, _ = self._judged(outputs)
        front = losses[_n_dominating(losses) == 0]
        span = np.ptp(front, axis=0)
        margin = _MARGIN * np.where(span > 0.0, span, np.maximum(np.ptp(losses, axis=0), 1e-6))
        middle = (losses.min(axis=0) + np.quantile(losses, 0.95, axis=0)) / 2
        worst = np.maximum.reduce([front.max(axis=0) + margin, self._reaches() + margin, middle])
        return torch.from_numpy(worst), torch.from_numpy(worst - losses.min(axis=0))

    def _judged(self, outputs: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return losses, n x n_objectives, and the sum of excesses, n."""
        scaled = torch.from_numpy(outputs)
        excess = sum((e(scaled).clamp_min(0.0).numpy() for e in self.excesses), np.zeros(len(outputs)))
        return self.losses(scaled).numpy(), excess

    def _loss(self, objective: Objective, outputs: Tensor) -> Tensor:
        output, scale = outputs[..., self._places[objective.output]], self._scales[objective.output]
        if self._is_raw:
            output = _raw(output, scale)
        if objective.target is not None and objective.goal == "target":
            return (output - self._placed(objective.target, scale)).abs()
        return -output if objective.goal == "maximize" else output

    def _placed(self, value: float, scale: Scale) -> float:
        return (value - scale.plain[0]) / scale.plain[1] if self._is_raw else scale.bound(value)

    def _reaches(self) -> np.ndarray:
        """Return the scaled loss at which each objective is reached; minus infinity for one without."""
        found: list[float] = []
        for objective in self._objectives:
            scale = self._scales[objective.output]
            if objective.reach is None:
                found.append(-math.inf)
            elif objective.goal == "target":
                found.append(objective.reach / scale.plain[1])
            else:
                bound = self._placed(objective.reach, scale)
                found.append(-bound if objective.goal == "maximize" else bound)
        return np.array(found)

    def _bounds(self, constraint: Constraint) -> list[tuple[int, float, float]]:
        place, scale = self._places[constraint.output], self._scales[constraint.output]
        both = [(1.0, scale.bound(constraint.upper)), (-1.0, scale.bound(constraint.lower))]
        return [(place, sign, bound) for sign, bound in both if math.isfinite(bound)]


def _n_dominating(losses: np.ndarray) -> np.ndarray:
    """Return by how many others each row is dominated: n x n_objectives to n."""
    if losses.shape[1] == 1:
        return np.searchsorted(np.sort(losses[:, 0]), losses[:, 0])
    return np.array([((losses <= row).all(axis=1) & (losses < row).any(axis=1)).sum() for row in losses])


def _raw(output: Tensor, scale: Scale) -> Tensor:
    """Return the output itself, less its mean and over its spread: any shape to the same."""
    bent = output * scale.spread + scale.shift
    if scale.log or scale.power != 1.0:
        bent = bent.clamp(*scale.extremes)
    if (power := scale.power) != 1.0:
        up, down, opposite = bent.clamp_min(0.0), (-bent).clamp_min(0.0), 2.0 - power
        risen = up.expm1() if power == 0.0 else (1.0 + power * up).clamp_min(1e-9) ** (1.0 / power) - 1.0
        fallen = down.expm1() if opposite == 0.0 else (1.0 + opposite * down).clamp_min(1e-9) ** (1.0 / opposite) - 1.0
        bent = risen - fallen
    value = scale.centre + scale.width * bent
    return ((value.exp() if scale.log else value) - scale.plain[0]) / scale.plain[1]


def _bent(output: Tensor, scale: Scale) -> Tensor:
    """Return the inverse of `_raw`."""
    value = output * scale.plain[1] + scale.plain[0]
    part = ((value.clamp_min(1e-300).log() if scale.log else value) - scale.centre) / scale.width
    if scale.power != 1.0:
        up, down, opposite = part.clamp_min(0.0), (-part).clamp_min(0.0), 2.0 - scale.power
        risen = up.log1p() if scale.power == 0.0 else ((1.0 + up) ** scale.power - 1.0) / scale.power
        fallen = down.log1p() if opposite == 0.0 else ((1.0 + down) ** opposite - 1.0) / opposite
        part = risen - fallen
    return (part - scale.shift) / scale.spread
