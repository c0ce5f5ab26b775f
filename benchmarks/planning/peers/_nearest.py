"""Pools for optimisers that know none: what they propose is moved to the nearest row that is not taken."""

from benchmarks.planning.problem import Problem

from renkei.model.space import Point


class Nearest:
    """Moves points of the surrounding box to rows of the pool, each row once; leaves them where there is no pool."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._taken: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._problem.pool)

    def take(self, point: Point) -> Point:
        """Return the row nearest to `point`, which is taken then."""
        row = self._problem.nearest(point, self._taken)
        self._taken.add(row)
        return dict(self._problem.pool[row])
