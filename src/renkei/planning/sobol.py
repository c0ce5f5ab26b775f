"""Sobol search: points that fill the space evenly; a better baseline than chance and a start for a model."""

from collections.abc import Sequence
from typing import Any

from renkei.model.space import Constraint, Objective, Observation, Point, Space
from renkei.planning._design import BLOCK, Design, derived_seed, design
from renkei.planning._port import require


class SobolPlanner:
    """Proposes points of a scrambled Sobol sequence (Owen 1998; Joe and Kuo 2008), as scipy makes them.

    Where every parameter is whole or a choice, the points are those that the sequence visits, each once. A pool has no
    coordinates to fill: there it is a seeded permutation.

    Constraints between parameters strike points from the sequence. Where they hold at fewer than one of 64 random
    points, as equations do, the points are random ones within them instead, from an ensemble of walkers (Goodman and
    Weare 2010), or a seeded permutation of all points that hold where these can be listed.

    Args:
        space: What to search.
        objectives: Not looked at.
        constraints: Not looked at.
        seed: Same seed and history, same points.
        warm: Not looked at.

    Raises:
        UsageError: The space cannot be searched, or scipy is not installed.
    """

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
    ) -> None:
        self._design = sobol_design(space, seed)

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return `n` points; fewer, or none, when every point is told or pending."""
        return self._design.ask(n, pending)

    def tell(self, observations: Sequence[Observation]) -> None:
        """Count ended trials."""
        self._design.tell(observations)


def sobol_design(space: Space, seed: int) -> Design:
    """Return the Sobol design over `space`.

    Raises:
        UsageError: The space cannot be searched, or scipy is not installed.
    """
    if space.pool is None:
        require("scipy")
    return design(space, _SobolBlocks(len(space.parameters), seed), seed)


class _SobolBlocks:
    """Blocks of one scrambled Sobol sequence in `n_parameters` dimensions."""

    def __init__(self, n_parameters: int, seed: int) -> None:
        self._n_parameters = n_parameters
        self._seed = seed
        self._engine: Any = None  # scipy.stats.qmc.Sobol, whose import takes a second

    def __call__(self, k: int) -> list[list[float]]:
        if self._engine is None:
            self._engine = self._new_engine()
        if self._engine.num_generated > k * BLOCK:
            self._engine = self._new_engine()
        if (skip := k * BLOCK - self._engine.num_generated) > 0:
            self._engine.fast_forward(skip)
        return self._engine.random(BLOCK).T.tolist()

    def _new_engine(self) -> Any:
        import numpy as np
        from scipy.stats import qmc

        return qmc.Sobol(
            self._n_parameters, scramble=True, rng=np.random.default_rng(derived_seed(self._seed, "sobol"))
        )
