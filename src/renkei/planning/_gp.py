"""Gaussian processes: one per output, fitted by maximum a posteriori."""

# pyright: basic, reportPrivateImportUsage=false
# torch and gpytorch ship no complete types; this module, _surrogate and _search are the only ones that touch them.

import math

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
        middle = a.mean(dim=-2, keepdim=True)  # Distances by products lose digits far from the origin.
        a, b = a - middle, b - middle
        squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
        return matern(squares - 2.0 * a @ b.transpose(-2, -1))


def matern(square: Tensor) -> Tensor:
    """Return the Matern-5/2 correlation at squared scaled distances, of the same shape."""
    distance = (5.0 * square).clamp_min(1e-18).sqrt()
    return (1.0 + distance + distance.square() / 3.0) * torch.exp(-distance)


def fit(rows: Tensor, values: Tensor, noise: Tensor | None, owner: Tensor) -> SingleTaskGP:
    """Return the process that fits one output.

    Lengthscales have the log-normal prior of Hvarfner et al. (2024), whose location grows with the number of
    parameters; a learned noise variance has a log-normal prior around exp(-4). The fit starts from the same place
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
    lengthscale, variance, mean = _most_probable(rows[chosen], values[chosen], known, owner, n_parameters)
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
    return model


def gradient(theta: Tensor) -> np.ndarray:
    """Return what backward() left in `theta`, as scipy wants it."""
    return np.zeros(len(theta)) if theta.grad is None else theta.grad.numpy()


def evenly(n: int) -> Tensor:
    """Return at most MAX_FIT_ROWS places, evenly spread over `n`."""
    return torch.linspace(0, n - 1, min(n, MAX_FIT_ROWS), dtype=torch.float64).round().long()


def squared_differences(rows: Tensor, owner: Tensor) -> Tensor:
    """Return squared distances by parameter, so that one matrix product scales and adds them: n^2 x n_parameters."""
    by_column = (rows[:, None, :] - rows[None, :, :]).square().reshape(len(rows) ** 2, -1)
    return torch.zeros(len(by_column), int(owner.max()) + 1, dtype=rows.dtype).index_add_(1, owner, by_column)


def lengthscale_prior(n_parameters: int) -> tuple[float, float]:
    """Return mean and variance of the logarithm of a lengthscale (Hvarfner et al. 2024)."""
    return math.sqrt(2.0) + 0.5 * math.log(n_parameters), 3.0


def _most_probable(
    rows: Tensor, values: Tensor, noise: Tensor | None, owner: Tensor, n_parameters: int
) -> tuple[Tensor, float, float]:
    """Return lengthscales (n_parameters), noise variance and mean at the highest posterior density found."""
    n = len(rows)
    squares = squared_differences(rows, owner)
    prior_mean, prior_variance = lengthscale_prior(n_parameters)
    identity = torch.eye(n, dtype=rows.dtype)

    def negative_log_density(theta: np.ndarray) -> tuple[float, np.ndarray]:
        t = torch.tensor(theta, dtype=rows.dtype, requires_grad=True)
        log_scale, log_noise, mean = t[:n_parameters], t[n_parameters], t[n_parameters + 1]
        covariance = matern((squares @ torch.exp(-2.0 * log_scale)).reshape(n, n))
        covariance = covariance + (identity * log_noise.exp() if noise is None else torch.diag(noise))
        factor = torch.linalg.cholesky(covariance)
        residual = (values - mean).unsqueeze(-1)
        loss = 0.5 * (residual * torch.cholesky_solve(residual, factor)).sum() + factor.diagonal().log().sum()
        loss = loss + ((log_scale - prior_mean).square() / (2.0 * prior_variance) + log_scale).sum()
        loss = loss + 0.5 * (log_noise + 4.0).square() + log_noise + 0.5 * mean.square()
        loss.backward()
        return loss.item(), gradient(t)

    best = minimize(
        negative_log_density,
        np.array([prior_mean - prior_variance] * n_parameters + [-5.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[_LENGTHSCALES] * n_parameters + [_NOISES, (-3.0, 3.0)],
        options={"maxiter": 100},
    )
    if not np.isfinite(best.fun):
        raise ValueError("the fit of a Gaussian process did not converge")
    theta = torch.from_numpy(best.x)
    return theta[:n_parameters].exp(), float(theta[n_parameters].exp()), float(theta[n_parameters + 1])
