"""Points as rows of features, for packages that choose among listed candidates."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from renkei.model.space import Choice, Parameter, Point, Space

Features = NDArray[np.float64]
"""n x n_features."""

_HALF = 0.5**0.5
"""Two values of a choice, one-hot in this height, are at distance 1, as are the bounds of a number."""


def features(space: Space, points: Sequence[Point]) -> Features:
    """Return points as rows: a number from 0 to 1 (on its log scale), a choice as one column a value."""
    columns = [column for parameter in space.parameters for column in _columns(parameter, points)]
    return np.column_stack(columns)


def nearest(candidates: Features, row: Features) -> int:
    """Return the index of the candidate at the smallest distance from `row`; the first of several.

    Args:
        candidates: At least one, n x n_features.
        row: n_features.
    """
    return int(np.square(candidates - row).sum(axis=1).argmin())


def _columns(parameter: Parameter, points: Sequence[Point]) -> list[Features]:
    values = [point[parameter.name] for point in points]
    if isinstance(parameter, Choice):
        return [np.array([_HALF * (type(v) is type(k) and v == k) for v in values]) for k in parameter.values]
    low, high = float(parameter.low), float(parameter.high)
    if low == high:
        return [np.zeros(len(points))]
    numbers = np.array(values, dtype=np.float64)
    if parameter.log:
        start, stop = math.log(low), math.log(high)
        return [(np.log(np.clip(numbers, low, high)) - start) / (stop - start)]
    # Halves, because high - low overflows for bounds such as -1e308 and 1e308.
    return [(numbers / 2 - low / 2) / (high / 2 - low / 2)]
