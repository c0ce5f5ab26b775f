"""Vacuum equilibria of stellarator boundaries with VMEC++."""

from dataclasses import dataclass

import numpy as np
import vmecpp  # pyright: ignore[reportMissingTypeStubs]

from renkei.errors import Infeasible

POLOIDAL_MODES = 5
TOROIDAL_MODES = 5
SURFACES = 16
FORCE_TOLERANCE = 1e-10
ITERATIONS = 2000

_CANNOT_WORK = ("did not converge", "solver failed")
"""What VMEC++ says of a boundary that it cannot solve; any other error is a fault and not a result."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """The shape of a plasma's surface; `fusion.stellarator_equilibrium` says what the numbers mean."""

    aspect_ratio: float
    helical_elongation: float
    axis_excursion: float
    vertical_elongation: float
    mirror: float
    triangularity: float
    field_periods: int


def solve(boundary: Boundary) -> vmecpp.VmecWOut:
    """Return the equilibrium of the vacuum field inside `boundary`, on one thread and without a word on the terminal.

    Raises:
        Infeasible: The solver found none; says why.
    """
    try:
        return vmecpp.run(_input(boundary), max_threads=1, verbose=False).wout
    except RuntimeError as error:  # the one kind that VMEC++ raises
        reason = " ".join(str(error).split())[:300]
        if any(words in reason for words in _CANNOT_WORK):
            raise Infeasible(f"VMEC++ found no equilibrium in this boundary: {reason}") from error
        raise


def magnetic_well(wout: vmecpp.VmecWOut) -> float:
    """Return (V'(0) - V'(1)) / V'(0), with V' carried from the half grid to axis and edge by straight lines."""
    slope = wout.vp
    on_axis = 1.5 * slope[1] - 0.5 * slope[2]
    at_edge = 1.5 * slope[-1] - 0.5 * slope[-2]
    return float((on_axis - at_edge) / on_axis)


def _input(b: Boundary) -> vmecpp.VmecInput:
    """Return the solver's input; VMEC's coefficients are [m, n + TOROIDAL_MODES] of cos and sin(m theta - n p)."""
    zero = TOROIDAL_MODES
    minor = 1 / (b.aspect_ratio * (1 - b.helical_elongation**2 - b.vertical_elongation**2) ** 0.5)
    r = np.zeros((POLOIDAL_MODES, 2 * TOROIDAL_MODES + 1))
    z = np.zeros_like(r)
    r[0, zero], r[0, zero + 1], z[0, zero + 1] = 1, b.axis_excursion, -b.axis_excursion
    r[1, zero], z[1, zero] = minor * (1 - b.vertical_elongation), minor * (1 + b.vertical_elongation)
    r[1, zero + 1], z[1, zero + 1] = -minor * b.helical_elongation, minor * b.helical_elongation
    for n in (-1, 1):
        r[1, zero + n] += minor * b.mirror / 2
        z[1, zero + n] += minor * b.mirror / 2
    r[2, zero], z[2, zero] = minor * b.triangularity / 2, -minor * b.triangularity / 2
    return vmecpp.VmecInput(
        nfp=b.field_periods,
        mpol=POLOIDAL_MODES,
        ntor=TOROIDAL_MODES,
        ns_array=np.array([SURFACES]),
        ftol_array=np.array([FORCE_TOLERANCE]),
        niter_array=np.array([ITERATIONS]),
        phiedge=float(np.pi / b.aspect_ratio**2),  # about 1 T; no output depends on it
        ncurr=1,
        curtor=0.0,
        am=np.array([0.0]),
        rbc=r,
        zbs=z,
        raxis_c=r[0, zero:].copy(),
        zaxis_s=z[0, zero:].copy(),
    )
