"""Random search: the plainest baseline, for which nothing needs to be installed."""

import random
from collections.abc import Sequence

from renkei.model.space import Constraint, Objective, Observation, Point, Space
from renkei.planning._design import BLOCK, design


class RandomPlanner:
    """Proposes points at random: uniform in every parameter, on a log scale where the parameter has one.

    From a pool, or where every parameter is whole or a choice, it draws without repetition and leaves out points that
    are told or pending.

    Constraints between parameters strike points from those drawn. Where they hold at fewer than one of 64 random
    points, as equations do, the points come from an ensemble of walkers within them instead (Goodman and Weare 2010;
    numpy and scipy must be installed then), or are a seeded permutation of all points that hold where these can be
    listed.

    Args:
        space: What to search.
        objectives: Not looked at.
        constraints: Not looked at.
        seed: Same seed and history, same points.
        warm: Not looked at.

    Raises:
        UsageError: The space cannot be searched, or its constraints need a package that is not installed.
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
        n_parameters = len(space.parameters)

        def draw(k: int) -> list[list[float]]:
            number = random.Random(f"renkei.random/{seed}/{k}").random
            rows = [[number() for _ in range(n_parameters)] for _ in range(BLOCK)]
            return [list(column) for column in zip(*rows, strict=True)]

        self._design = design(space, draw, seed)

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return `n` points; fewer, or none, when every point is told or pending."""
        return self._design.ask(n, pending)

    def tell(self, observations: Sequence[Observation]) -> None:
        """Count ended trials."""
        self._design.tell(observations)
