"""Gaussian processes: one per output, fitted by maximum a posteriori."""

# pyright: basic, reportPrivateImportUsage=false
# torch and gpytorch ship no complete types; this module, _surrogate and _search are the only ones that touch them.

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from botorch.models import SingleTaskGP
from gpytorch.constraints import Positive
from gpytorch.kernels import Kernel
from gpytorch.means import ConstantMean
from scipy.optimize import minimize
from torch import Tensor

MAX_FIT_ROWS = 256
"""Hyperparameters are fitted to at most so many rows, evenly spread over the history."""

_MIN_NOISE = 1e-6
_LENGTHSCALES = (math.log(0.02), math.log(1e3))
_NOISES = (math.log(_MIN_NOISE), math.log(4.0))
_SIZES = (math.log(0.5), math.log(8.0))
_SIZE_MEAN, _SIZE_SPREAD = math.log(2.0), 0.7


class ParameterKernel(Kernel):
    """Matern-5/2 with one lengthscale a parameter, shared by the columns of a choice; its variance is 1.

    For a choice this is the kernel on whether two values are equal, because distinct one-hot columns all lie at
    distance 1.

    Args:
        owner: The parameter of each column, n_columns.
        n_parameters: How many parameters there are.
    """

    has_lengthscale = True

    def __init__(self, owner: Tensor, n_parameters: int) -> None:
        super().__init__(ard_num_dims=n_parameters, lengthscale_constraint=Positive())
        self.ard_num_dims = None  # gpytorch would insist on as many columns.
        self.owner = owner

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """Return the covariance of rows: ... x n1 x n_columns and ... x n2 x n_columns to ... x n1 x n2."""
        scale = self.lengthscale[..., self.owner]
        a, b = x1 / scale, x2 / scale
        if diag:
            return matern((a - b).square().sum(-1))
        return matern(squared_distances(a, b))


def matern(square: Tensor) -> Tensor:
    """Return the Matern-5/2 correlation at squared scaled distances, of the same shape."""
    distance = (5.0 * square).clamp_min(1e-18).sqrt()
    return (1.0 + distance + distance.square() / 3.0) * torch.exp(-distance)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return squared distances of rows: ... x n1 x n_columns and ... x n2 x n_columns to ... x n1 x n2."""
    middle = second.mean(dim=-2, keepdim=True)  # Distances by products lose digits far from the origin.
    a, b = first - middle, second - middle
    squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
    return squares - 2.0 * a @ b.transpose(-2, -1)


def fit(rows: Tensor, values: Tensor, noise: Tensor | None, owner: Tensor) -> tuple[SingleTaskGP, float]:
    """Return the process that fits one output over its size, and that size.

    The size is the standard deviation of outputs before anything is observed; its prior is log-normal around 2.

    Lengthscales have the log-normal prior of Hvarfner et al. (2024), whose location grows with the number of
    parameters; a learned noise variance has a wide log-normal prior around exp(-8). The fit starts from the same places
    every time, so it depends on the data alone.

    Args:
        rows: Where, n x n_columns.
        values: What, standardised, n.
        noise: Known variance of each value, n; None learns one for all.
        owner: The parameter of each column, n_columns.

    Raises:
        ValueError: The fit did not converge.
    """
    n_parameters = int(owner.max()) + 1
    chosen = evenly(len(rows))
    known = None if noise is None else noise[chosen].clamp_min(_MIN_NOISE)
    lengthscale, variance, mean, size = _most_probable(rows[chosen], values[chosen], known, owner, n_parameters)
    variance, mean, values = max(variance / size**2, _MIN_NOISE), mean / size, values / size
    noise = None if noise is None else noise / size**2
    kernel = ParameterKernel(owner, n_parameters).to(rows)
    kernel.lengthscale = lengthscale
    constant = ConstantMean().to(rows)
    constant.initialize(constant=mean)
    everywhere = torch.full_like(values, variance) if noise is None else noise.clamp_min(_MIN_NOISE)
    model = SingleTaskGP(
        rows,
        values.unsqueeze(-1),
        train_Yvar=everywhere.unsqueeze(-1),
        covar_module=kernel,
        mean_module=constant,
        outcome_transform=None,
    )
    model.requires_grad_(False)
    model.eval()
    return model, size


def marginals(model: Any) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return what gives the mean and standard deviation of a `fit`, row by row: n x n_columns to n and n.

    Much cheaper than a posterior where rows are many. Of a long history only MAX_FIT_ROWS trials are taken.
    """
    chosen = evenly(len(model.train_targets))
    rows, constant = model.train_inputs[0][chosen], model.mean_module.constant.item()
    kernel = model.covar_module.forward
    with torch.no_grad():
        noise = model.likelihood.noise.expand(len(model.train_targets))[chosen]
        factor = torch.linalg.cholesky(kernel(rows, rows) + torch.diag(noise))
        residual = (model.train_targets[chosen] - constant).unsqueeze(-1)
        slope = torch.cholesky_solve(residual, factor).squeeze(-1)

    def at(asked: Tensor) -> tuple[Tensor, Tensor]:
        cross = kernel(asked, rows)
        explained = torch.linalg.solve_triangular(factor, cross.T, upper=False)
        return constant + cross @ slope, (1.0 - explained.square().sum(0)).clamp_min(1e-12).sqrt()

    return at


def gradient(theta: Tensor) -> np.ndarray:
    """Return what backward() left in `theta`, as scipy wants it."""
    return np.zeros(len(theta)) if theta.grad is None else theta.grad.numpy()


def evenly(n: int) -> Tensor:
    """Return at most MAX_FIT_ROWS places, evenly spread over `n`."""
    return torch.linspace(0, n - 1, min(n, MAX_FIT_ROWS), dtype=torch.float64).round().long()


def squared_differences(rows: Tensor, owner: Tensor) -> Tensor:
    """Return squared distances by parameter, so that one matrix product scales and adds them: n^2 x n_parameters."""
    by_column = (rows[:, None, :] - rows[None, :, :]).square().reshape(len(rows) ** 2, rows.shape[1])
    return torch.zeros(len(by_column), int(owner.max()) + 1, dtype=rows.dtype).index_add_(1, owner, by_column)


def lengthscale_prior(n_parameters: int) -> tuple[float, float]:
    """Return mean and variance of the logarithm of a lengthscale (Hvarfner et al. 2024)."""
    return math.sqrt(2.0) + 0.5 * math.log(n_parameters), 3.0


def _most_probable(
    rows: Tensor, values: Tensor, noise: Tensor | None, owner: Tensor, n_parameters: int
) -> tuple[Tensor, float, float, float]:
    """Return lengthscales (n_parameters), noise variance, mean and size at the highest posterior density found.

    Where noise is learned the search starts twice, from little noise and from much: both may explain the data.
    """
    n = len(rows)
    squares = squared_differences(rows, owner)
    prior_mean, prior_variance = lengthscale_prior(n_parameters)

    def negative_log_density(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return it and its gradient, written out because that takes a third of the time of autograd."""
        log_scale, log_noise, mean = theta[:n_parameters], float(theta[n_parameters]), float(theta[n_parameters + 1])
        log_size = float(theta[n_parameters + 2])
        weight = torch.from_numpy(np.exp(-2.0 * log_scale))
        distance = (5.0 * (squares @ weight)).clamp_min(0.0).sqrt_()
        falling = torch.exp(-distance)
        power = math.exp(2.0 * log_size)
        covariance = (power * (1.0 + distance + distance.square() / 3.0) * falling).reshape(n, n)
        signal = covariance.clone()
        covariance.diagonal().add_(math.exp(log_noise) if noise is None else noise)
        factor = torch.linalg.cholesky(covariance)
        inverse = torch.cholesky_inverse(factor)
        residual = values - mean
        slope = inverse @ residual
        off = (log_scale - prior_mean) / prior_variance
        loss = 0.5 * float(residual @ slope) + float(factor.diagonal().log().sum())
        loss += float((0.5 * prior_variance * off**2 + log_scale).sum()) + (log_noise + 8.0) ** 2 / 24.0 + 0.5 * mean**2
        loss += 0.5 * ((log_size - _SIZE_MEAN) / _SIZE_SPREAD) ** 2
        change = 0.5 * (inverse - torch.outer(slope, slope))
        by_square = change.reshape(-1) * (-5.0 / 6.0 * power) * (1.0 + distance) * falling
        found = np.empty(n_parameters + 3)
        found[:n_parameters] = (-2.0 * weight * (by_square @ squares)).numpy() + off + 1.0
        found[n_parameters] = math.exp(log_noise) * float(change.trace()) if noise is None else 0.0
        found[n_parameters] += (log_noise + 8.0) / 12.0
        found[n_parameters + 1] = mean - float(slope.sum())
        found[n_parameters + 2] = 2.0 * float((change * signal).sum()) + (log_size - _SIZE_MEAN) / _SIZE_SPREAD**2
        return loss, found

    short, long = prior_mean - prior_variance, prior_mean - 0.5 * prior_variance
    starts = [[short] * n_parameters + [-6.0, 0.0, 0.0], [long] * n_parameters + [-2.0, 0.0, 0.0]]
    with torch.no_grad():
        found = [
            minimize(
                negative_log_density,
                np.array(start),
                jac=True,
                method="L-BFGS-B",
                bounds=[_LENGTHSCALES] * n_parameters + [_NOISES, (-3.0, 3.0), _SIZES],
                options={"maxiter": 100, "ftol": 1e-6},
            )
            for start in starts[: 2 if noise is None else 1]
        ]
    best = min(found, key=lambda each: each.fun if np.isfinite(each.fun) else math.inf)
    if not np.isfinite(best.fun):
        raise ValueError("the fit of a Gaussian process did not converge")
    theta = torch.from_numpy(best.x)
    noise_variance, size = float(theta[n_parameters].exp()), float(theta[n_parameters + 2].exp())
    return theta[:n_parameters].exp(), noise_variance, float(theta[n_parameters + 1]), size
