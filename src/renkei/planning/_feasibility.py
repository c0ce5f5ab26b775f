"""Where points work at all: Gaussian process classification."""

# pyright: basic, reportPrivateImportUsage=false
# torch ships no complete types.

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from renkei.planning._gp import (
    evenly,
    gradient,
    lengthscale_prior,
    matern,
    squared_differences,
    squared_distances,
)

_MAX_NEWTON = 30
_BOUNDS_VARIANCE = (math.log(0.1), math.log(100.0))


@dataclass(frozen=True)
class Feasibility:
    """A latent Gaussian process f with P(works) = Phi(f), by Laplace's approximation (Rasmussen and Williams 2006).

    A regression on labels would not do: a step from works to fails drives its lengthscale to nothing, and beyond the
    data it then knows nothing. The latent process need not have the step.
    """

    rows: Tensor
    owner: Tensor
    lengthscale: Tensor
    variance: float
    mean: float
    slope: Tensor
    root: Tensor
    factor: Tensor

    def to(self, device: str) -> "Feasibility":
        """Return the same on another device."""
        named = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **named)

    def log_probability(self, X: Tensor) -> Tensor:
        """Return log P(works), differentiable: ... x n_columns to ...."""
        mean, deviation = self.latent(X.reshape(-1, X.shape[-1]))
        return torch.special.log_ndtr(mean / (1.0 + deviation.square()).sqrt()).reshape(X.shape[:-1])

    def latent(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the latent process, differentiably: n x n_columns to n."""
        scale = self.lengthscale[self.owner]
        cross = self.variance * matern(squared_distances(rows / scale, self.rows / scale))
        mean = self.mean + cross @ self.slope
        explained = torch.linalg.solve_triangular(self.factor, (cross * self.root).T, upper=False)
        return mean, (self.variance - explained.square().sum(0)).clamp_min(1e-9).sqrt()


def fit_feasibility(rows: Tensor, works: Tensor, owner: Tensor) -> Feasibility:
    """Return the classifier of trials that worked and trials that did not; there are some of both.

    Lengthscales have the prior of the output models; the latent variance a log-normal prior around 4, the mean a
    standard normal one. The fit starts from the same place every time.

    Args:
        rows: Where, n x n_columns.
        works: Whether, n.
        owner: The parameter of each column, n_columns.

    Raises:
        ValueError: The fit did not converge.
    """
    n_parameters = int(owner.max()) + 1
    labels = torch.where(works, 1.0, -1.0).to(rows)
    chosen = evenly(len(rows))
    squares, few = squared_differences(rows[chosen], owner), labels[chosen]
    location, spread = lengthscale_prior(n_parameters)
    latent = torch.zeros(len(few), dtype=rows.dtype)

    def negative_log_density(theta: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal latent
        t = torch.tensor(theta, dtype=rows.dtype, requires_grad=True)
        log_scale, log_variance, mean = t[:n_parameters], t[n_parameters], t[n_parameters + 1]
        covariance = _covariance(squares, log_scale, log_variance)
        latent = _mode(covariance.detach(), few, mean.detach(), latent)
        # At the mode a Newton step moves nothing but carries the mode's derivative.
        moved, slope, _, _ = _newton(covariance, few, mean, latent)
        _, curvature = _derivatives(few, moved)
        root = curvature.sqrt()
        factor = torch.linalg.cholesky(torch.eye(len(few)).to(rows) + root[:, None] * covariance * root)
        loss = 0.5 * (slope * (moved - mean)).sum() - torch.special.log_ndtr(few * moved).sum()
        loss = loss + factor.diagonal().log().sum()
        loss = loss + ((log_scale - location).square() / (2.0 * spread) + log_scale).sum()
        loss = loss + 0.5 * (log_variance - math.log(4.0)).square() + 0.5 * mean.square()
        loss.backward()
        return loss.item(), gradient(t)

    found = minimize(
        negative_log_density,
        np.array([location - spread + 1.0] * n_parameters + [math.log(4.0), 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(math.log(0.05), math.log(1e3))] * n_parameters + [_BOUNDS_VARIANCE, (-3.0, 3.0)],
        options={"maxiter": 60},
    )
    if not np.isfinite(found.fun):
        raise ValueError("the fit of the feasibility did not converge")
    best = torch.from_numpy(found.x)
    log_scale, log_variance, mean = best[:n_parameters], best[n_parameters], best[n_parameters + 1]
    covariance = _covariance(squared_differences(rows, owner), log_scale, log_variance)
    mode = _mode(covariance, labels, mean, torch.zeros(len(rows), dtype=rows.dtype))
    _, slope, root, factor = _newton(covariance, labels, mean, mode)
    return Feasibility(rows, owner, log_scale.exp(), float(log_variance.exp()), float(mean), slope, root, factor)


def _covariance(squares: Tensor, log_scale: Tensor, log_variance: Tensor) -> Tensor:
    n = math.isqrt(len(squares))
    return log_variance.exp() * matern((squares @ torch.exp(-2.0 * log_scale)).reshape(n, n))


def _derivatives(labels: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the negated second derivative of log Phi(label * latent)."""
    z = labels * latent
    ratio = torch.exp(-0.5 * z.square() - 0.5 * math.log(2.0 * math.pi) - torch.special.log_ndtr(z))
    return labels * ratio, (ratio * (ratio + z)).clamp_min(1e-10)


def _newton(covariance: Tensor, labels: Tensor, mean: Tensor, latent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the next latent values, K^-1 (latent - mean), the root of the curvature and Cholesky's factor of B."""
    first, curvature = _derivatives(labels, latent)
    root = curvature.sqrt()
    factor = torch.linalg.cholesky(torch.eye(len(latent)).to(latent) + root[:, None] * covariance * root)
    right = curvature * (latent - mean) + first
    inner = torch.cholesky_solve((root * (covariance @ right)).unsqueeze(-1), factor).squeeze(-1)
    slope = right - root * inner
    return mean + covariance @ slope, slope, root, factor


def _mode(covariance: Tensor, labels: Tensor, mean: Tensor, latent: Tensor) -> Tensor:
    """Return the latent values of highest density. The logarithm of the density is concave: Newton's steps converge."""
    for _ in range(_MAX_NEWTON):
        following, *_ = _newton(covariance, labels, mean, latent)
        moved = float((following - latent).abs().max())
        latent = following
        if moved < 1e-8:
            break
    return latent
