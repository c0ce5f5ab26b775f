"""The logarithm of the expected improvement over what is best already, noise and pending points included.

What is best already is not known exactly: trials are noisy, and pending points have no result. So the outputs at the
trials that may be best and at pending points are sampled jointly, and in each sample the improvement of a further point
is integrated over its outputs (Letham et al. 2019), in the logarithm (Ament et al. 2023). For one objective without
bounds of its own that is a closed form; else the probability of a gain is integrated over the gain.

Of several objectives the gain is the hypervolume, as the mean over directions from the reference point of the power of
how far one gets (Golovin and Zhang 2020); each sample has a direction of its own. So the cost grows with the number of
objectives as that of sampling them does, and pending points are as cheap as with one.
"""

# pyright: basic, reportPrivateImportUsage=false
# torch and botorch ship no complete types.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import _log_ei_helper
from botorch.models import SingleTaskGP
from botorch.sampling.qmc import NormalQMCEngine
from botorch.utils.safe_math import logmeanexp
from torch import Tensor

from renkei.planning._feasibility import Feasibility
from renkei.planning._goals import Goals
from renkei.planning._gp import matern, squared_distances

_N_SAMPLES_ONE = 64
_N_SAMPLES_SEVERAL = 128
"""Quasi-random samples of what is best, in the closed form and elsewhere."""

_N_NODES = 10
"""Of the quadrature over the gain."""

_HOPE = 4.0
"""The quadrature ends where all outputs are so many deviations better than expected."""

_LEAST_NOISE = 1e-6
_MAX_Z = 1e8


class Process:
    """A fitted Gaussian process as plain matrices; the variance of its kernel is 1.

    Botorch's posteriors take milliseconds each, whatever their size; these take a tenth of that.

    Args:
        model: What `fit` gives.
        device: Where the matrices are.

    Attributes:
        rows: Where it was observed, n x n_columns.
        inverse: Inverse of Cholesky's factor of the covariance of the observations, n x n.
        whitened: That inverse times observations less their mean, n.
        mean: The prior mean.
    """

    def __init__(self, model: SingleTaskGP, device: str = "cpu") -> None:
        kernel: Any = model.covar_module
        mean: Any = model.mean_module
        likelihood: Any = model.likelihood
        self._scale = kernel.lengthscale.reshape(-1)[kernel.owner].to(device)
        self.rows = model.train_inputs[0].to(device)
        self.mean = float(mean.constant)
        with torch.no_grad():
            covariance = self.covariance(self.rows, self.rows)
            covariance.diagonal().add_(likelihood.noise.reshape(-1).to(device))
            factor = torch.linalg.cholesky(covariance)
            identity = torch.eye(len(self.rows), dtype=self.rows.dtype, device=device)
            self.inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
            self.whitened = self.inverse @ (model.train_targets.to(device) - self.mean)

    def covariance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the prior covariance of rows: n1 x n_columns and n2 x n_columns to n1 x n2."""
        return matern(squared_distances(first / self._scale, second / self._scale))


@dataclass(frozen=True)
class _Conditioned:
    """A process that knows, in each of several samples, its values at anchors too.

    Args:
        process: What is known without the anchors.
        rows: Observations and anchors, n x n_columns.
        inverse: Inverse of Cholesky's factor of their covariance, n x n.
        whitened: That inverse times their sampled values less the mean, n x n_samples.
    """

    process: Process
    rows: Tensor
    inverse: Tensor
    whitened: Tensor

    @classmethod
    def at(cls, process: Process, anchors: Tensor, draws: Tensor) -> tuple["_Conditioned", Tensor]:
        """Return the conditioned process and its sampled values at the anchors: n_anchors x n_samples.

        Args:
            process: What to condition.
            anchors: Where, n_anchors x n_columns.
            draws: Standard normal, n_anchors x n_samples.
        """
        n, n_anchors = len(process.rows), len(anchors)
        known = process.inverse @ process.covariance(process.rows, anchors)
        left = process.covariance(anchors, anchors) - known.T @ known
        left.diagonal().add_(_LEAST_NOISE)
        factor = torch.linalg.cholesky(left)
        inverse = anchors.new_zeros(n + n_anchors, n + n_anchors)
        inverse[:n, :n] = process.inverse
        identity = torch.eye(n_anchors, dtype=anchors.dtype, device=anchors.device)
        own = torch.linalg.solve_triangular(factor, identity, upper=False)
        inverse[n:, n:] = own
        inverse[n:, :n] = -own @ known.T @ process.inverse
        whitened = torch.cat([process.whitened[:, None].expand(n, draws.shape[1]), draws])
        values = process.mean + known.T @ process.whitened[:, None] + factor @ draws
        return cls(process, torch.cat([process.rows, anchors]), inverse, whitened), values

    def at_rows(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return means in each sample, n x n_samples, and the standard deviation, n x 1, differentiably."""
        known = self.process.covariance(rows, self.rows) @ self.inverse.T
        deviation = (1.0 - known.square().sum(-1, keepdim=True)).clamp_min(1e-12).sqrt()
        return self.process.mean + known @ self.whitened, deviation


class Improvement(AcquisitionFunction):
    """Maps rows to the logarithm of their expected improvement: n x 1 x n_columns to n.

    Args:
        processes: One an output.
        goals: What is good.
        frame: Reference point of the hypervolume and distance from it to the best: n_objectives both.
        anchors: Trials that may be best and points on their way, n_anchors x n_columns; at least one.
        feasibility: Where points work, if it is known.
        seed: Of the quasi-random samples.

    Attributes:
        n_best: In how many samples each anchor is the best, n_anchors.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        goals: Goals,
        frame: tuple[Tensor, Tensor],
        anchors: Tensor,
        feasibility: Feasibility | None,
        seed: int,
    ) -> None:
        torch.nn.Module.__init__(self)
        self._goals, self._feasibility = goals, feasibility
        n_samples = _N_SAMPLES_ONE if goals.is_plain else _N_SAMPLES_SEVERAL
        n_outputs = len(processes)
        n_drawn = goals.n_objectives + n_outputs * len(anchors)
        draws: Tensor = NormalQMCEngine(n_drawn, seed, inv_transform=True).draw(n_samples, dtype=torch.float64)  # pyright: ignore[reportAssignmentType]
        directions, at_anchors = draws.to(anchors.device).split([goals.n_objectives, n_outputs * len(anchors)], dim=1)
        directions = directions.abs().clamp_min(1e-9)
        nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
        self._nodes = torch.from_numpy((nodes + 1.0) / 2.0).to(anchors.device)
        self._log_weights = torch.from_numpy(np.log(weights / 2.0)).to(anchors.device)
        self._worst, span = (part.to(anchors.device) for part in frame)
        self._reach = span * directions / directions.norm(dim=-1, keepdim=True)  # n_samples x n_objectives
        at_anchors = at_anchors.T.reshape(n_outputs, len(anchors), n_samples)
        conditioned, values = zip(
            *[_Conditioned.at(p, anchors, d) for p, d in zip(processes, at_anchors, strict=True)], strict=True
        )
        self._conditioned: Sequence[_Conditioned] = conditioned
        outputs = torch.stack(values, dim=-1)  # n_anchors x n_samples x n_outputs
        gains = self._gain(outputs)
        holds = torch.ones_like(gains, dtype=torch.bool)
        for excess in goals.excesses:
            holds &= excess(outputs) <= 0.0
        gains = torch.where(holds, gains, -torch.inf)
        best = gains.max(dim=0)
        self.n_best = torch.bincount(best.indices[best.values > -torch.inf], minlength=len(anchors))
        # Where nothing holds, anything does that holds and is not much worse than the mean.
        nothing = 0.0 if goals.n_objectives > 1 else float(self._gain(torch.zeros_like(outputs[:1, :1]))) - 3.0
        self._best = torch.where(best.values > -torch.inf, best.values, nothing)
        if goals.n_objectives > 1:
            self._best = self._best.clamp_min(0.0)

    def _gain(self, outputs: Tensor) -> Tensor:
        """Return what to maximise, one number a sample: ... x n_samples x n_outputs to ... x n_samples."""
        losses = self._goals.losses(outputs)
        if self._goals.n_objectives == 1:
            return -losses.squeeze(-1)
        return ((self._worst - losses) / self._reach).amin(dim=-1)

    def forward(self, X: Tensor) -> Tensor:
        """Return the logarithm of the expected improvement, on the device of `X`: n x 1 x n_columns to n."""
        rows = X.squeeze(-2).to(self._best.device)
        found = self._closed(rows) if self._goals.is_plain else self._integrated(rows)
        value = logmeanexp(found, dim=-1)
        if self._feasibility is not None:
            value = value + self._feasibility.log_probability(rows)
        return value.to(X.device)

    def _closed(self, rows: Tensor) -> Tensor:
        """Return the logarithm of the improvement in each sample: n x n_samples."""
        known = [conditioned.at_rows(rows) for conditioned in self._conditioned]
        place, sign = self._goals.plain
        mean, deviation = known[place]
        found = _log_ei_helper((sign * mean - self._best) / deviation) + deviation.log()
        for place, sign, bound in self._goals.bounds:
            mean, deviation = known[place]
            found = found + torch.special.log_ndtr(sign * (bound - mean) / deviation)
        return found

    def _integrated(self, rows: Tensor) -> Tensor:
        """Return the logarithm of the integral of the probability of a gain, over the gain: n x n_samples."""
        known = [conditioned.at_rows(rows) for conditioned in self._conditioned]
        means = torch.stack([mean for mean, _ in known], dim=-1)
        deviations = torch.stack([deviation for _, deviation in known], dim=-1).expand_as(means)
        hoped = self._gain(self._goals.hoped(means, _HOPE * deviations))
        soft = ((hoped - self._gain(means)) / _HOPE).clamp_min(1e-9)
        width = soft * torch.nn.functional.softplus((hoped - self._best) / soft)
        gain = self._best[:, None] + width[..., None] * self._nodes  # n x n_samples x n_nodes
        n = self._goals.n_objectives
        losses = -gain[..., None] if n == 1 else self._worst - gain[..., None] * self._reach[:, None, :]
        found = self._log_weights + width.clamp_min(1e-300).log()[..., None]
        found = found + math.log(n) + (n - 1) * gain.clamp_min(1e-300).log()
        for place, (low, high) in self._goals.intervals(losses).items():
            mean, deviation = means[..., place, None], deviations[..., place, None]
            found = found + _log_between(
                None if low is None else (low - mean) / deviation, None if high is None else (high - mean) / deviation
            )
        return found.logsumexp(dim=-1)


def _log_between(low: Tensor | None, high: Tensor | None) -> Tensor:
    """Return the logarithm of the probability that a standard normal number lies in between."""
    if high is None:
        assert low is not None
        return torch.special.log_ndtr((-low).clamp(-_MAX_Z, _MAX_Z))
    if low is None:
        return torch.special.log_ndtr(high.clamp(-_MAX_Z, _MAX_Z))
    low, high = low.clamp(-_MAX_Z, _MAX_Z), high.clamp(-_MAX_Z, _MAX_Z)
    # Flipped to where the difference of two probabilities keeps its digits.
    flip = low + high > 0.0
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    gap = (torch.special.log_ndtr(a) - torch.special.log_ndtr(b)).clamp_max(-1e-12)
    return torch.where(a < b, torch.special.log_ndtr(b) + torch.log(-torch.expm1(gap)), -1e6)
