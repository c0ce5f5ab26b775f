"""A Gaussian process over several sources of one truth."""

# pyright: basic, reportPrivateImportUsage=false
# torch ships no complete types.

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize
from torch import Tensor

from renkei.planning._gp import evenly, lengthscale_prior, matern, squared_differences

_MIN_NOISE = 1e-6
_JITTER = 1e-8
_LENGTHSCALES = (math.log(0.02), math.log(1e3))
_NOISES = (math.log(_MIN_NOISE), math.log(4.0))
_SIZES = (math.log(0.05), math.log(20.0))
_SHARES = (-3.0, 3.0)
_DEVIATIONS = (math.log(0.02), math.log(5.0))
_MEANS = (-5.0, 5.0)

_NOISE = -7.0
"""Most likely logarithm of the noise variance of a source; where it counts, relative to the truth's variance."""

_STARTS = ((0.9, 0.3), (0.1, 0.9))
"""Share of the truth and deviation from which the fit of an informing source starts: it helps, or it does not."""


@dataclass(frozen=True)
class SourceProcess:
    """One output as sources see it: y_s(x) = m_s + a_s u(x) + b_s d_s(x) + noise_s.

    The truth is m + a u(x), where u and every d_s are independent Gaussian processes of variance 1 with lengthscales of
    their own. Sources that count have the truth's m and a, and b = 0. This is the autoregressive model of Kennedy and
    O'Hagan (2000) for sources that need no order, each compared with the truth as by Poloczek, Wang and Frazier (2017).

    Attributes:
        rows: Where, n x n_columns.
        at: The place of each row's source, n.
        values: What, in the units of its source, as it was or may have been: n_draws x n.
        mean: m by source, n_sources.
        share: a by source, n_sources.
        deviation: b by source, n_sources; 0 where a source counts.
        noise: Variance of noise by source, n_sources.
        known: Variance of each value where it is known, else NaN, n.
        lengthscales: Of u, then of each d_s: (1 + n_sources) x n_parameters.
        owner: The parameter of each column, n_columns.
        truth: The place of a source that counts.
    """

    rows: Tensor
    at: Tensor
    values: Tensor
    mean: Tensor
    share: Tensor
    deviation: Tensor
    noise: Tensor
    known: Tensor
    lengthscales: Tensor
    owner: Tensor
    truth: int
    _factor: Tensor = field(init=False, repr=False)
    _slope: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        covariance = self._covariance(self.rows, self.at)
        variance = torch.where(self.known.isnan(), self.noise[self.at], self.known).clamp_min(_MIN_NOISE)
        factor = torch.linalg.cholesky(covariance + torch.diag(variance + _JITTER))
        residual = (self.values - self.mean[self.at]).T
        object.__setattr__(self, "_factor", factor)
        object.__setattr__(self, "_slope", torch.cholesky_solve(residual, factor))

    def imagining(self, rows: Tensor, at: Tensor, chances: Tensor) -> "SourceProcess":
        """Return the process as if `rows` had ended at their sources, with values drawn from what they may give.

        Args:
            rows: n x n_columns.
            at: The place of each row's source, n.
            chances: Standard normal numbers to draw with, n x n_draws; the process itself has one draw.
        """
        if len(rows) == 0:
            return self
        n = len(self.rows)
        there = torch.cat([self.at, at])
        unknown = torch.full((len(rows),), math.nan, dtype=self.known.dtype)
        whole = replace(
            self,
            rows=torch.cat([self.rows, rows]),
            at=there,
            values=torch.cat([self.values, self.mean[at][None]], dim=1),
            known=torch.cat([self.known, unknown]),
        )
        factor = whole._factor
        solved = torch.linalg.solve_triangular(factor[:n, :n], (self.values - self.mean[self.at]).T, upper=False)
        drawn = self.mean[at][:, None] + factor[n:, :n] @ solved + factor[n:, n:] @ chances
        return replace(whole, values=torch.cat([self.values.expand(chances.shape[1], -1), drawn.T], dim=1))

    def truth_mean(self, rows: Tensor) -> Tensor:
        """Return what is expected of the truth: n x n_columns to n_draws x n."""
        return self.mean[self.truth] + (self._covariance(rows, self._places(rows, self.truth)) @ self._slope).T

    def foresight(self, rows: Tensor, source: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is expected of the truth, n_draws x n, and by how much that is uncertain and will move, n each.

        The last is the standard deviation of the truth's posterior mean after that trial, as seen before it
        (Frazier, Powell and Dayanik 2009).

        Args:
            rows: n x n_columns.
            source: The place of the source.
        """
        true = self._covariance(rows, self._places(rows, self.truth))
        solved = torch.linalg.solve_triangular(self._factor, true.T, upper=False)
        amplitude = self.share[self.truth]
        variance = (amplitude.square() - solved.square().sum(0)).clamp_min(1e-12)
        mean = self.mean[self.truth] + (true @ self._slope).T
        if source == self.truth:
            both, seen = variance, variance
        else:
            other = self._covariance(rows, self._places(rows, source))
            others = torch.linalg.solve_triangular(self._factor, other.T, upper=False)
            own = self.share[source].square() + self.deviation[source].square()
            both = amplitude * self.share[source] - (solved * others).sum(0)
            seen = (own - others.square().sum(0)).clamp_min(1e-12)
        moved = both.square() / (seen + self.noise[source].clamp_min(_MIN_NOISE))
        return mean, variance.sqrt(), torch.minimum(moved, variance).clamp_min(1e-14).sqrt()

    def correlation(self, source: int) -> float:
        """Return how far a source goes with the truth before any data: between -1 and 1."""
        share, deviation = float(self.share[source]), float(self.deviation[source])
        return share / math.hypot(share, deviation)

    def _places(self, rows: Tensor, source: int) -> Tensor:
        return torch.full((len(rows),), source)

    def _covariance(self, rows: Tensor, at: Tensor) -> Tensor:
        """Return the covariance of new rows at sources `at` with the rows of the process: m x n."""
        found = self.share[at][:, None] * self.share[self.at] * self._correlation(rows, self.rows, 0)
        for source in at.unique().tolist():
            if float(self.deviation[source]) == 0.0:
                continue
            ours, theirs = at == source, self.at == source
            own = self.deviation[source].square() * self._correlation(rows[ours], self.rows[theirs], 1 + source)
            added = torch.zeros_like(found)
            added[ours.nonzero(), theirs.nonzero().squeeze(-1)] = own
            found = found + added
        return found

    def _correlation(self, a: Tensor, b: Tensor, process: int) -> Tensor:
        scale = self.lengthscales[process, self.owner]
        a, b = a / scale, b / scale
        middle = b.mean(dim=0)
        a, b = a - middle, b - middle
        return matern(a.square().sum(-1, keepdim=True) + b.square().sum(-1) - 2.0 * a @ b.T)


def fit_sources(
    rows: Tensor, at: Tensor, values: Tensor, known: Tensor, slopes: Tensor, owner: Tensor, counts: Sequence[bool]
) -> tuple[SourceProcess, float]:
    """Return the process of highest posterior density, and the negative logarithm of that density.

    Lengthscales have the prior of `_gp.fit`; the truth's a is log-normal around 1. Relative to it, that of another
    source is normal around 1 with deviation 1/2, and its b log-normal around 0.3: a source is taken to be good until
    its values say otherwise. Noise variances are log-normal around exp(-7), and wide: few trials that count say little
    of their noise, and where it is taken for large they are believed too little. The fit depends on the data alone.

    Args:
        rows: Where, n x n_columns.
        at: The place of each row's source, n.
        values: What, of about unit spread, n.
        known: Variance of each value, NaN where it is to be learned, n.
        slopes: How much a value changes with the output that it was made from, n: by it densities over outputs that
            were scaled in different ways compare (Snelson, Rasmussen and Ghahramani 2004).
        owner: The parameter of each column, n_columns.
        counts: Whether each source counts, n_sources.

    Raises:
        ValueError: The fit did not converge.
    """
    chosen = _kept(at, counts)
    density = _Density(rows[chosen], at[chosen], values[chosen], known[chosen], owner, counts)
    best_theta, best_loss = None, math.inf
    for share, deviation in _STARTS if density.informing else _STARTS[:1]:
        found = minimize(
            density,
            density.start(share, deviation),
            jac=True,
            method="L-BFGS-B",
            bounds=density.bounds,
            options={"maxiter": 100},
        )
        if found.fun < best_loss:
            best_theta, best_loss = found.x, found.fun
    if best_theta is None:
        raise ValueError("the fit of the sources did not converge")
    scales, mean, share, deviation, noise = (torch.from_numpy(each) for each in density.unpacked(best_theta))
    truth = list(counts).index(True)
    process = SourceProcess(rows, at, values[None], mean, share, deviation, noise, known, scales, owner, truth)
    return process, best_loss - float(slopes[chosen].log().sum())


class _Density:
    """The negative logarithm of the posterior density of hyperparameters, with its gradient.

    The hyperparameters: log lengthscales of u; m and log a of the truth; log noise variance by source; then for every
    source that informs the log lengthscales of d, m, its a by that of the truth, and the logarithm of its b by that.

    Args:
        rows: See `fit_sources`, as are the others.
    """

    def __init__(
        self, rows: Tensor, at: Tensor, values: Tensor, known: Tensor, owner: Tensor, counts: Sequence[bool]
    ) -> None:
        self.n_parameters = d = int(owner.max()) + 1
        self.n_sources = len(counts)
        self.informing = [source for source, counting in enumerate(counts) if not counting]
        self._at, self._values = at.numpy(), values.numpy()
        self._known = known.numpy()
        self._counted = np.isin(self._at, self.informing, invert=True)
        self._squares = squared_differences(rows, owner).numpy()
        self._own = [np.flatnonzero(self._at == source) for source in self.informing]
        self._own_squares = [squared_differences(rows[places], owner).numpy() for places in self._own]
        location, spread = lengthscale_prior(d)
        self._location, self._spread = location, spread
        self._noises = slice(d + 2, d + 2 + self.n_sources)
        first = d + 2 + self.n_sources
        self._parts = [
            slice(first + turn * (d + 3), first + (turn + 1) * (d + 3)) for turn in range(len(self.informing))
        ]
        scales = [_LENGTHSCALES] * d
        self.bounds = [*scales, _MEANS, _SIZES, *[_NOISES] * self.n_sources]
        self.bounds += [*scales, _MEANS, _SHARES, _DEVIATIONS] * len(self.informing)
        # Rows of normal priors: where, mean, variance. Those in the logarithm that are log-normal add the logarithm.
        normal = [(range(d), location, spread, 1.0), ([d, d + 1], 0.0, 1.0, 0.0)]
        normal += [(range(d + 2, first), _NOISE, 4.0, 0.0)]
        self._relative = [d + 2 + source for source, counting in enumerate(counts) if counting]
        for part in self._parts:
            normal += [(range(part.start, part.start + d), location, spread, 1.0), ([part.start + d], 0.0, 1.0, 0.0)]
            normal += [([part.start + d + 1], 1.0, 0.25, 0.0), ([part.start + d + 2], math.log(0.3), 1.0, 0.0)]
        n_theta = len(self.bounds)
        self._prior_mean, self._prior_variance, self._slope = np.zeros(n_theta), np.ones(n_theta), np.zeros(n_theta)
        for places, mean, variance, slope in normal:
            self._prior_mean[list(places)] = mean
            self._prior_variance[list(places)] = variance
            self._slope[list(places)] = slope

    def start(self, share: float, deviation: float) -> np.ndarray:
        """Return where a fit begins."""
        d = self.n_parameters
        theta = [self._location - self._spread] * d + [0.0, 0.0] + [-5.0] * self.n_sources
        part = [self._location - self._spread] * d + [0.0, share, math.log(deviation)]
        return np.array(theta + part * len(self.informing))

    def unpacked(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return lengthscales, (1 + n_sources) x n_parameters, and means, shares, deviations and noise, n_sources."""
        d = self.n_parameters
        scales = np.tile(np.exp(theta[:d]), (1 + self.n_sources, 1))
        size = math.exp(theta[d + 1])
        mean, share = np.full(self.n_sources, theta[d]), np.full(self.n_sources, size)
        deviation, noise = np.zeros(self.n_sources), np.exp(theta[self._noises])
        for source, part in zip(self.informing, self._parts, strict=True):
            own = theta[part]
            scales[1 + source] = np.exp(own[:d])
            mean[source], share[source], deviation[source] = own[d], own[d + 1] * size, math.exp(own[d + 2]) * size
        return scales, mean, share, deviation, noise

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and its gradient: n_theta."""
        d, n = self.n_parameters, len(self._values)
        _, means, shares, _, noises = self.unpacked(theta)
        amplitude = shares[self._at]
        common, falling = _matern_and_slope((self._squares @ np.exp(-2.0 * theta[:d])).reshape(n, n))
        covariance = common * np.outer(amplitude, amplitude)
        own_parts: list[tuple[float, np.ndarray, np.ndarray]] = []
        for part, places, squares in zip(self._parts, self._own, self._own_squares, strict=True):
            m = len(places)
            size = math.exp(2.0 * (theta[part.start + d + 2] + theta[d + 1]))
            alike, fall = _matern_and_slope((squares @ np.exp(-2.0 * theta[part][:d])).reshape(m, m))
            covariance[np.ix_(places, places)] += size * alike
            own_parts.append((size, alike, fall))
        is_learned = np.isnan(self._known)
        noise = np.where(is_learned, noises[self._at], np.maximum(self._known, _MIN_NOISE))
        covariance[np.diag_indices(n)] += noise + _JITTER
        factor = cholesky(covariance, lower=True, check_finite=False)
        inverse = cho_solve((factor, True), np.eye(n), check_finite=False)
        residual = self._values - means[self._at]
        slope = inverse @ residual
        loss = 0.5 * float(residual @ slope) + float(np.log(factor.diagonal()).sum())
        weight = 0.5 * (inverse - np.outer(slope, slope))

        found = np.zeros_like(theta)
        by_row = 2.0 * (weight * common) @ amplitude
        found[:d] = (
            -2.0
            * np.exp(-2.0 * theta[:d])
            * ((weight * np.outer(amplitude, amplitude) * falling).ravel() @ self._squares)
        )
        found[d] = -slope[self._counted].sum()
        found[d + 1] = amplitude @ by_row
        found[self._noises] = noises * np.bincount(
            self._at, np.where(is_learned, weight.diagonal(), 0.0), minlength=self.n_sources
        )
        for part, places, squares, (size, alike, fall) in zip(
            self._parts, self._own, self._own_squares, own_parts, strict=True
        ):
            own_weight, gradient = weight[np.ix_(places, places)], found[part]
            gradient[:d] = -2.0 * np.exp(-2.0 * theta[part][:d]) * size * ((own_weight * fall).ravel() @ squares)
            gradient[d] = -slope[places].sum()
            gradient[d + 1] = math.exp(theta[d + 1]) * by_row[places].sum()
            gradient[d + 2] = 2.0 * size * (own_weight * alike).sum()
            found[d + 1] += gradient[d + 2]

        away = theta - self._prior_mean
        away[self._relative] -= 2.0 * theta[d + 1]
        loss += float((0.5 * away**2 / self._prior_variance + self._slope * theta).sum())
        found += away / self._prior_variance + self._slope
        found[d + 1] -= 2.0 * (away / self._prior_variance)[self._relative].sum()
        return loss, found


def _matern_and_slope(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Matern-5/2 correlation at squared scaled distances, and its derivative by them."""
    distance = np.sqrt(5.0 * square)
    decay = np.exp(-distance)
    return (1.0 + distance + distance**2 / 3.0) * decay, -5.0 / 6.0 * (1.0 + distance) * decay


def _kept(at: Tensor, counts: Sequence[bool]) -> Tensor:
    """Return the places that hyperparameters are fitted to: trials that count, then others, evenly spread."""
    counted = torch.tensor(list(counts))[at]
    kept = [places[evenly(len(places))] for is_in in (counted, ~counted) if len(places := is_in.nonzero().squeeze(-1))]
    return torch.cat(kept).sort().values
