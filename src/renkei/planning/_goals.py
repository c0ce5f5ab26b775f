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

_MARGIN = 0.4
"""How far beyond the front the reference point lies, in ranges of the front."""


class Goals:
    """What to make small, and what must not be exceeded, as functions of scaled outputs.

    Args:
        objectives: At least one.
        constraints: Bounds; open ones vanish.
        scales: Of every output by name, in the order of the outputs' columns.

    Attributes:
        n_objectives: How many objectives there are.
        excesses: One a finite bound: ... x n_outputs to ..., at most 0 where the bound holds.
    """

    def __init__(
        self, objectives: Sequence[Objective], constraints: Sequence[Constraint], scales: Mapping[str, Scale]
    ) -> None:
        self._objectives = objectives
        self._scales = scales
        self._places = {name: place for place, name in enumerate(scales)}
        self.n_objectives = len(objectives)
        self.excesses = [excess for constraint in constraints for excess in self._excesses(constraint)]

    def losses(self, outputs: Tensor) -> Tensor:
        """Return what to minimise: ... x n_outputs to ... x n_objectives."""
        return torch.stack([self._loss(objective, outputs) for objective in self._objectives], dim=-1)

    def ranking(self, outputs: Rows) -> np.ndarray:
        """Return the places of trials, best first: by the sum of their excesses, then by how many others dominate them.

        Args:
            outputs: Scaled and complete, n x n_outputs.
        """
        losses, excess = self._judged(outputs)
        return np.lexsort((_n_dominating(losses), excess))

    def reference(self, outputs: Rows) -> Tensor:
        """Return the reference point of the hypervolume, as negated losses: n_objectives.

        In each objective worse than the worst of the front by a share of the front's range, and so much worse than what
        is to be reached, where that is worse still. The front is that of all trials, whether constraints hold or not:
        while few hold, a front of those alone would leave out most of what may be found.

        Args:
            outputs: Scaled and complete, n x n_outputs.
        """
        losses, _ = self._judged(outputs)
        front = losses[_n_dominating(losses) == 0]
        span = np.ptp(front, axis=0)
        margin = _MARGIN * np.where(span > 0.0, span, np.maximum(np.ptp(losses, axis=0), 1e-6))
        return -torch.from_numpy(np.maximum(front.max(axis=0), self._reaches()) + margin)

    def _judged(self, outputs: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return losses, n x n_objectives, and the sum of excesses, n."""
        scaled = torch.from_numpy(outputs)
        excess = sum((e(scaled).clamp_min(0.0).numpy() for e in self.excesses), np.zeros(len(outputs)))
        return self.losses(scaled).numpy(), excess

    def _loss(self, objective: Objective, outputs: Tensor) -> Tensor:
        output = outputs[..., self._places[objective.output]]
        if objective.target is not None and objective.goal == "target":
            return (output - self._scales[objective.output].bound(objective.target)).abs()
        return -output if objective.goal == "maximize" else output

    def _reaches(self) -> list[float]:
        """Return the scaled loss at which each objective is reached; minus infinity for one without."""
        found: list[float] = []
        for objective in self._objectives:
            scale = self._scales[objective.output]
            if objective.reach is None:
                found.append(-math.inf)
            elif objective.goal == "target":
                found.append(objective.reach / scale.spread)
            else:
                bound = scale.bound(objective.reach)
                found.append(-bound if objective.goal == "maximize" else bound)
        # On a log scale a reach at or below zero lies at infinity, which is no reference.
        return [reach if math.isfinite(reach) else -math.inf for reach in found]

    def _excesses(self, constraint: Constraint) -> list[Callable[[Tensor], Tensor]]:
        place, scale = self._places[constraint.output], self._scales[constraint.output]
        upper, lower = scale.bound(constraint.upper), scale.bound(constraint.lower)
        found: list[Callable[[Tensor], Tensor]] = []
        if math.isfinite(upper):
            found.append(lambda outputs: outputs[..., place] - upper)
        if math.isfinite(lower):
            found.append(lambda outputs: lower - outputs[..., place])
        return found


def _n_dominating(losses: np.ndarray) -> np.ndarray:
    """Return by how many others each row is dominated: n x n_objectives to n."""
    if losses.shape[1] == 1:
        return np.searchsorted(np.sort(losses[:, 0]), losses[:, 0])
    return np.array([((losses <= row).all(axis=1) & (losses < row).any(axis=1)).sum() for row in losses])
