"""Points that are compared one by one: which are left, and which lies farthest from what is known."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from renkei.model.space import Point
from renkei.planning._codec import Codec, Key
from renkei.planning._rows import RowCodec, Rows

Places = NDArray[np.int64]
"""Places in the list, ascending."""


class Listed:
    """The distinct points of a pool or of a small discrete space.

    Args:
        points: Any of them may come twice; the first counts.
        codec: Tells which are equal.
        rows: How points become rows.

    Attributes:
        points: The distinct points, n.
        rows: Their rows, n x n_columns.
    """

    def __init__(self, points: Iterable[Point], codec: Codec, rows: RowCodec) -> None:
        distinct: dict[Key, Point] = {}
        for point in points:
            distinct.setdefault(codec.key(point), point)
        self.points = list(distinct.values())
        self.rows = rows.rows(self.points)
        self._places = {key: place for place, key in enumerate(distinct)}
        self._is_free = np.ones(len(self.points), dtype=bool)

    def strike(self, keys: Iterable[Key]) -> None:
        """Take points off the list for good; those that are not on it are passed over."""
        self._is_free[self.places(keys)] = False

    def left(self, waiting: Iterable[Key]) -> Places:
        """Return the places that are neither struck nor `waiting`."""
        is_left = self._is_free.copy()
        is_left[self.places(waiting)] = False
        return np.flatnonzero(is_left)

    def places(self, keys: Iterable[Key]) -> Places:
        """Return the places of points that are on the list."""
        found = [self._places[key] for key in keys if key in self._places]
        return np.array(sorted(found), dtype=np.int64)

    def farthest(self, left: Places, known: Rows, seed: int) -> int:
        """Return the place among those `left` farthest from the nearest `known` row; of ties a random one.

        Points taken so one after another are a maximin design (Kennard and Stone 1969, Technometrics 11, 137).

        Args:
            left: At least one.
            known: n_known x n_columns; where there is none, every place ties.
            seed: Of the choice among ties.
        """
        rows = self.rows[left]
        nearest = np.full(len(left), np.inf)
        for row in known:
            nearest = np.minimum(nearest, np.square(rows - row).sum(axis=1))
        # Sums of the same terms in another order differ in their last digits.
        ties = np.flatnonzero(nearest >= nearest.max() * (1.0 - 1e-9))
        return int(left[np.random.default_rng(seed).choice(ties)])
