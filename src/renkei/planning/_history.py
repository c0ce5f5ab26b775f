"""What a model learns from: rows of trials, their outputs on a scale that suits a Gaussian process."""

import math
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


@dataclass(frozen=True, slots=True)
class Scale:
    """Turns an output y into z of zero mean and unit spread: (y - shift) / spread, of log y if `log`."""

    shift: float
    spread: float
    log: bool

    @classmethod
    def fit(cls, values: Column, may_log: bool) -> "Scale":
        """Return the scale for an output's finite values, at least one."""
        log = False
        if may_log and values.min() > 0.0 and values.max() / values.min() > _LOG_RATIO:
            log = abs(_skew(np.log(values))) < abs(_skew(values))
        used = np.log(values) if log else values
        # Relative to the largest, because squares overflow.
        size = float(np.abs(used).max()) or 1.0
        spread = float(np.std(used / size)) * size
        negligible = 1e-12 * size
        return cls(float(np.mean(used / size)) * size, spread if spread > negligible else 1.0, log)

    def scaled(self, values: Column) -> Column:
        """Return z of each value."""
        return ((np.log(values) if self.log else values) - self.shift) / self.spread

    def bound(self, value: float) -> float:
        """Return z of a bound on the output; on the log scale a bound at or below zero lies at minus infinity."""
        if math.isinf(value):
            return value
        if self.log:
            return (math.log(value) - self.shift) / self.spread if value > 0.0 else -math.inf
        return (value - self.shift) / self.spread

    def noise(self, values: Column, deviations: Column) -> Column:
        """Return standard deviations of z, given those of the output at `values` (to first order)."""
        return deviations / self.spread / (values if self.log else 1.0)


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
    _abandoned: list[list[float]] = field(default_factory=list[list[float]])

    def __post_init__(self) -> None:
        self._values = {name: [] for name in self.outputs}
        self._noise = {name: [] for name in self.outputs}

    def __len__(self) -> int:
        """Return how many trials had a result, infeasible ones included."""
        return len(self._rows)

    def add(self, observation: Observation) -> None:
        """Take in one trial. One that was observed without a finite value of every output counts as infeasible."""
        row = self.codec.row(observation.point)
        if observation.outcome == "abandoned":
            self._abandoned.append(row)
            return
        self._rows.append(row)
        observed = observation.outcome == "observed"
        for name in self.outputs:
            value, noise = observation.outputs.get(name, math.nan), observation.noise.get(name, math.nan)
            self._values[name].append(value if observed and math.isfinite(value) else math.nan)
            self._noise[name].append(noise if math.isfinite(noise) and noise >= 0.0 else math.nan)
        self._works.append(all(not math.isnan(self._values[name][-1]) for name in self.outputs))

    @property
    def n_works(self) -> int:
        """Trials with a finite value of every output."""
        return sum(self._works)

    def rows(self) -> Rows:
        """Return trials with a result: n x n_columns."""
        return self.codec.stacked(self._rows)

    def abandoned(self, most: int) -> Rows:
        """Return the last abandoned trials, at most `most`: n x n_columns."""
        return self.codec.stacked(self._abandoned[-most:])

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
