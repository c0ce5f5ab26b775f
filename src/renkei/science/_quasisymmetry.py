"""The two-term quasisymmetry error of a VMEC equilibrium, in plain NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SURFACES = tuple(j / 10 for j in range(11))
"""Normalised toroidal flux of the surfaces that Landreman & Paul (2022) sum over: 0, 0.1, ..., 1."""


def two_term_error(
    wout: Any,
    helicity_n: int,
    surfaces: Sequence[float] = SURFACES,
    n_theta: int = 63,
    n_phi: int = 64,
) -> float:
    """Return how far the field is from quasisymmetry with helicity (1, `helicity_n`); 0 is perfect, dimensionless.

    The measure f_QS of M. Landreman & E. Paul, Phys. Rev. Lett. 128, 035001 (2022), which needs no Boozer
    coordinates::

        f = sum_s < ( ((N - iota) B x grad B . grad psi - (G + N I) B . grad B) / B^3 )^2 >

    with N = helicity_n * nfp, 2 pi psi the toroidal flux, G and I the poloidal and toroidal current profiles, and
    < > the flux-surface average, here a sum over a uniform grid in VMEC's angles weighted with the Jacobian.

    Args:
        wout: A converged, stellarator-symmetric equilibrium with the fields of a VMEC wout file; Fourier
            coefficients have the shape (mode, radius), the first radius of the half grid being unused.
        helicity_n: Toroidal mode number of the symmetry in field periods: 0 quasi-axisymmetry, +1 or -1
            quasi-helical symmetry.
        surfaces: Where to measure, in normalised toroidal flux from 0 to 1.
        n_theta: Grid points in the poloidal angle.
        n_phi: Grid points in the toroidal angle, over one field period.
    """
    n_surfaces = int(wout.ns)
    half_grid = (np.arange(1, n_surfaces) - 0.5) / (n_surfaces - 1)
    at = np.asarray(surfaces, dtype=np.float64)

    def on_surfaces(values: Any) -> Array:  # (row, radius) -> (surface, row)
        return _interpolated(np.atleast_2d(np.asarray(values, dtype=np.float64))[:, 1:], half_grid, at).T

    m = np.asarray(wout.xm_nyq, dtype=np.float64)
    n = np.asarray(wout.xn_nyq, dtype=np.float64)
    cosine, sine = _basis(m, n, n_theta, n_phi, int(wout.nfp))
    b_mn = on_surfaces(wout.bmnc)
    b = b_mn @ cosine  # (surface, grid point), as all that follow
    db_dtheta = (-m * b_mn) @ sine
    db_dphi = (n * b_mn) @ sine
    jacobian = on_surfaces(wout.gmnc) @ cosine
    b_sub_theta = on_surfaces(wout.bsubumnc) @ cosine
    b_sub_phi = on_surfaces(wout.bsubvmnc) @ cosine
    b_sup_theta = on_surfaces(wout.bsupumnc) @ cosine
    b_sup_phi = on_surfaces(wout.bsupvmnc) @ cosine
    iota, g, i = on_surfaces(wout.iotas), on_surfaces(wout.bvco), on_surfaces(wout.buco)

    dpsi_ds = -float(wout.phi[-1]) / (2 * np.pi)  # VMEC's Jacobian is negative
    along = b_sup_theta * db_dtheta + b_sup_phi * db_dphi
    across = dpsi_ds * (b_sub_theta * db_dphi - b_sub_phi * db_dtheta) / jacobian
    toroidal = helicity_n * int(wout.nfp)
    residual = (across * (toroidal - iota) - along * (g + toroidal * i)) / b**3
    profile = np.sum(residual**2 * jacobian, axis=1) / np.sum(jacobian, axis=1)
    return float(np.sum(profile))


def _interpolated(values: Array, grid: Array, at: Array) -> Array:
    """Return `values` (row, radius) at the radii `at`, linear in between and beyond the ends: (row, at)."""
    left = np.clip(np.searchsorted(grid, at) - 1, 0, len(grid) - 2)
    weight = (at - grid[left]) / (grid[left + 1] - grid[left])
    return values[:, left] * (1 - weight) + values[:, left + 1] * weight


def _basis(m: Array, n: Array, n_theta: int, n_phi: int, nfp: int) -> tuple[Array, Array]:
    """Return cos(m theta - n phi) and sin(m theta - n phi), each (mode, grid point), over one field period."""
    theta = 2 * np.pi * np.arange(n_theta) / n_theta
    phi = 2 * np.pi * np.arange(n_phi) / (n_phi * nfp)
    # by the addition theorems from two small tables: many times fewer cosines than there are entries
    cm, sm = np.cos(np.outer(m, theta))[:, :, None], np.sin(np.outer(m, theta))[:, :, None]
    cn, sn = np.cos(np.outer(n, phi))[:, None, :], np.sin(np.outer(n, phi))[:, None, :]
    shape = (len(m), n_theta * n_phi)
    return (cm * cn + sm * sn).reshape(shape), (sm * cn - cm * sn).reshape(shape)
