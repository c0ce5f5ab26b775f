"""What a model learns from: rows of trials, their outputs on a scale that suits a Gaussian process."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from renkei.model.space import Observation
from renkei.planning._rows import RowCodec, Rows

Column = NDArray[np.float64]
"""One number a trial: n."""

_LOG_RATIO = 100.0
"""Positive outputs that span more than this are modelled in the logarithm, if that makes them less skewed."""

_LARGEST = 1e300
"""Outputs beyond this count as this, so that differences are numbers."""

_POWERS = [power / 10 for power in range(-10, 21)]
_PULL = 4.0
"""What a power of 0 or 2 in place of 1 costs, in logarithms of the likelihood."""

_MIN_BENT = 6
"""Fewer values than this say too little about their distribution."""

_FENCE = 4.0
"""Bad values of an objective count as no worse than so many spreads from the median."""

_FAR = 1e6


@dataclass(frozen=True, slots=True)
class Scale:
    """Turns an output y into z of zero mean, unit spread and as little skewness as can be: z = (b - shift) / spread.

    Here b is the Yeo-Johnson power of (y - centre) / width, of log y if `log` (Yeo and Johnson 2000). Power 1 changes
    nothing.

    Attributes:
        low: b is not below this in `scaled`.
        high: b is not above this in `scaled`.
        plain: Mean and spread of y itself.
        extremes: The smallest and the largest b seen, and one spread more.
    """

    shift: float
    spread: float
    log: bool
    centre: float = 0.0
    width: float = 1.0
    power: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    plain: tuple[float, float] = (0.0, 1.0)
    extremes: tuple[float, float] = (-math.inf, math.inf)

    @classmethod
    def fit(cls, values: Column, may_log: bool, bad: int = 0) -> "Scale":
        """Return the scale for an output.

        Args:
            values: Of the output, finite, at least one.
            may_log: Whether z may be other than linear in y: the logarithm, or the power under which the values are
                most likely to be normal.
            bad: 1 where large values are bad, -1 where small ones are, 0 where neither. So that a few wild values do
                not flatten the rest, z of bad values ends some spreads from the median.
        """
        log = False
        if may_log and values.min() > 0.0 and values.max() / values.min() > _LOG_RATIO:
            log = abs(_skew(np.log(values))) < abs(_skew(values))
        used = np.log(values) if log else values
        centre, width, power = 0.0, 1.0, 1.0
        if may_log and len(values) >= _MIN_BENT:
            middle, robust = _middle(used)
            power = _likeliest(np.clip((used - middle) / robust, -_FAR, _FAR))
            centre, width = (middle, robust) if power != 1.0 else (0.0, 1.0)
        bent = _bent((used - centre) / width, power)
        middle, robust = _middle(bent)
        low = middle - _FENCE * robust if bad < 0 else -math.inf
        high = middle + _FENCE * robust if bad > 0 else math.inf
        shift, spread = _mean_and_spread(np.clip(bent, low, high))
        extremes = float(bent.min()) - spread, float(bent.max()) + spread
        return cls(shift, spread, log, centre, width, power, low, high, _mean_and_spread(values), extremes)

    def scaled(self, values: Column) -> Column:
        """Return z of each value."""
        return (np.clip(_bent(self._part(values), self.power), self.low, self.high) - self.shift) / self.spread

    def bound(self, value: float) -> float:
        """Return z of a bound on the output; on the log scale a bound at or below zero lies at minus infinity."""
        if math.isinf(value):
            return value
        if self.log and value <= 0.0:
            return -math.inf
        return (float(_bent(self._part(np.array([value])), self.power)[0]) - self.shift) / self.spread

    def noise(self, values: Column, deviations: Column) -> Column:
        """Return standard deviations of z, given those of the output at `values` (to first order)."""
        part = self._part(values)
        steep = (1.0 + np.abs(part)) ** np.where(part >= 0.0, self.power - 1.0, 1.0 - self.power)
        return deviations * steep / self.width / self.spread / (values if self.log else 1.0)

    def _part(self, values: Column) -> Column:
        part = ((np.log(values) if self.log else values) - self.centre) / self.width
        return part if self.power == 1.0 else np.clip(part, -_FAR, _FAR)


def _mean_and_spread(values: Column) -> tuple[float, float]:
    """Return the mean and the standard deviation, 1 in place of one that is negligible."""
    size = float(np.abs(values).max()) or 1.0  # Relative to the largest, because squares overflow.
    spread = float(np.std(values / size)) * size
    return float(np.mean(values / size)) * size, spread if spread > 1e-12 * size else 1.0


def _middle(values: Column) -> tuple[float, float]:
    """Return the median and half of the width of the middle 68%; where that is nothing, the standard deviation."""
    low, middle, high = (float(v) for v in np.quantile(values / 2, [0.16, 0.5, 0.84]))  # Halves cannot overflow.
    width = high - low
    return 2 * middle, width if width > 1e-12 * float(np.abs(values).max()) else _mean_and_spread(values)[1]


def _bent(part: Column, power: float) -> Column:
    """Return the Yeo-Johnson power of each number."""
    if power == 1.0:
        return part
    up, down = np.maximum(part, 0.0), np.maximum(-part, 0.0)
    risen = np.log1p(up) if power == 0.0 else ((1.0 + up) ** power - 1.0) / power
    fallen = np.log1p(down) if power == 2.0 else ((1.0 + down) ** (2.0 - power) - 1.0) / (2.0 - power)
    return risen - fallen


def _likeliest(part: Column) -> float:
    """Return the power that makes numbers most likely to be normal, 1 where nothing speaks for another."""
    slope = float(np.sum(np.sign(part) * np.log1p(np.abs(part))))
    spreads = [float(np.std(_bent(part, power))) for power in _POWERS]
    if min(spreads) <= 0.0:
        return 1.0
    scores = [
        (power - 1.0) * slope - len(part) * math.log(spread) - _PULL * (power - 1.0) ** 2
        for power, spread in zip(_POWERS, spreads, strict=True)
    ]
    return _POWERS[int(np.argmax(scores))]


@dataclass(slots=True)
class History:
    """Everything told, as rows; in the order of telling.

    Args:
        codec: How points become rows.
        outputs: The outputs that matter: of objectives and constraints.
    """

    codec: RowCodec
    outputs: Sequence[str]
    _rows: list[list[float]] = field(default_factory=list[list[float]])
    _works: list[bool] = field(default_factory=list[bool])
    _values: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    _noise: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def __post_init__(self) -> None:
        self._values = {name: [] for name in self.outputs}
        self._noise = {name: [] for name in self.outputs}

    def __len__(self) -> int:
        """Return how many trials had a result, infeasible ones included."""
        return len(self._rows)

    def add(self, observation: Observation) -> None:
        """Take in one trial that was not abandoned; one without a finite value of every output is infeasible."""
        self._rows.append(self.codec.row(observation.point))
        observed = observation.outcome == "observed"
        for name in self.outputs:
            value, noise = observation.outputs.get(name, math.nan), observation.noise.get(name, math.nan)
            self._values[name].append(_finite(value) if observed else math.nan)
            self._noise[name].append(_finite(noise) if noise >= 0.0 else math.nan)
        self._works.append(all(not math.isnan(self._values[name][-1]) for name in self.outputs))

    @property
    def n_works(self) -> int:
        """Trials with a finite value of every output."""
        return sum(self._works)

    def rows(self) -> Rows:
        """Return trials with a result: n x n_columns."""
        return self.codec.stacked(self._rows)

    def works(self) -> NDArray[np.bool_]:
        """Return whether each trial gave every output: n."""
        return np.array(self._works, dtype=bool)

    def values(self, output: str) -> Column:
        """Return an output of each trial, NaN where there is none: n."""
        return np.array(self._values[output], dtype=np.float64)

    def noise(self, output: str) -> Column:
        """Return the known standard deviation of an output of each trial, NaN where it is unknown: n."""
        return np.array(self._noise[output], dtype=np.float64)


def _skew(values: Column) -> float:
    size = float(np.abs(values).max()) or 1.0
    centred = values / size - np.mean(values / size)
    spread = float(np.std(centred))
    return float(np.mean((centred / spread) ** 3)) if spread > 1e-12 else 0.0


def _finite(value: float) -> float:
    """Return a number as a float of at most _LARGEST, NaN where it is none or too large a whole number for one."""
    if not -sys.float_info.max <= value <= sys.float_info.max:
        return math.nan
    return min(_LARGEST, max(-_LARGEST, float(value)))
