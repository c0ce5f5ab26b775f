"""Fusion: three-dimensional plasma equilibria of stellarators, with VMEC++ (extra `fusion`)."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from renkei.model.procedure import Unit, procedure


@dataclass(frozen=True, slots=True)
class Equilibrium:
    """What the vacuum field inside one boundary is like. All dimensionless."""

    quasisymmetry_error: Annotated[float, Unit("1")]
    iota: Annotated[float, Unit("1")]
    magnetic_well: Annotated[float, Unit("1")]
    aspect_ratio: Annotated[float, Unit("1")]


@procedure("fusion.stellarator-equilibrium", version="1.0")
def stellarator_equilibrium(
    aspect_ratio: Annotated[float, Interval(ge=4, le=10), Unit("1")],
    helical_elongation: Annotated[float, Interval(ge=0, le=0.6), Unit("1")],
    axis_excursion: Annotated[float, Interval(ge=0, le=0.3), Unit("1")],
    vertical_elongation: Annotated[float, Interval(ge=-0.3, le=0.3), Unit("1")] = 0.0,
    mirror: Annotated[float, Interval(ge=-0.2, le=0.2), Unit("1")] = 0.0,
    triangularity: Annotated[float, Interval(ge=-0.3, le=0.3), Unit("1")] = 0.0,
    field_periods: Annotated[int, Interval(ge=2, le=5)] = 2,
    symmetry: Literal["axisymmetric", "helical"] = "axisymmetric",
) -> Equilibrium:
    """Solve the vacuum field of a stellarator for its boundary shape: quasisymmetry error, iota, magnetic well.

    Ideal-MHD equilibrium with VMEC++ at fixed boundary, no pressure and no net current (the first stage of a
    quasisymmetry optimisation), with 5 poloidal and 5 toroidal modes on 16 surfaces: quasisymmetry error and iota come
    within 1 %, the well within 0.01 of what 8 modes on 101 surfaces give. With p = field_periods * phi, theta the
    poloidal angle, R0 = 1 m and a = R0 / (aspect_ratio * sqrt(1 - helical_elongation^2 - vertical_elongation^2)), the
    boundary is::

        R = R0 (1 + axis_excursion cos p) + a [ (1 - vertical_elongation + mirror cos p) cos theta
              - helical_elongation cos(theta - p) + triangularity / 2 cos 2 theta ]
        Z = R0 axis_excursion sin p       + a [ (1 + vertical_elongation + mirror cos p) sin theta
              + helical_elongation sin(theta - p) - triangularity / 2 sin 2 theta ]

    Args:
        aspect_ratio: Major over mean minor radius, nominal; the output is the one VMEC computes.
        helical_elongation: How far the rotating ellipse is from a circle: its half axes are a (1 +- this).
        axis_excursion: Radius of the helix that the cross-section's centre follows, in major radii.
        vertical_elongation: Elongation that does not rotate; above 0 is taller than wide.
        mirror: Modulation of the cross-section's size along a field period, which makes a magnetic mirror.
        triangularity: Triangularity that does not rotate; above 0 points inwards on top and bottom.
        field_periods: How often the shape repeats once around.
        symmetry: Which quasisymmetry the error is measured against: "axisymmetric", helicity (1, 0), or
            "helical", helicity (1, 1) in field periods.

    Returns:
        quasisymmetry_error: The two-term measure f_QS summed over eleven surfaces (Landreman & Paul, Phys. Rev.
            Lett. 128, 035001, 2022); 0 is perfect.
        iota: Rotational transform, mean over the plasma's flux.
        magnetic_well: (V'(0) - V'(1)) / V'(0), the relative drop of dV/dpsi from axis to edge; above 0 is a well,
            which is stabilising (Greene, Comments Plasma Phys. Control. Fusion 17, 389, 1997).
        aspect_ratio: As VMEC computes it from volume and mean cross-section.

    Raises:
        Infeasible: No equilibrium was found: the boundary crosses itself or the solver did not converge.
        ModuleNotFoundError: The package vmecpp is not installed.
    """
    from renkei.science._quasisymmetry import two_term_error
    from renkei.science._vmec import Boundary, magnetic_well, solve

    wout = solve(
        Boundary(
            aspect_ratio=aspect_ratio,
            helical_elongation=helical_elongation,
            axis_excursion=axis_excursion,
            vertical_elongation=vertical_elongation,
            mirror=mirror,
            triangularity=triangularity,
            field_periods=field_periods,
        )
    )
    return Equilibrium(
        quasisymmetry_error=two_term_error(wout, helicity_n=1 if symmetry == "helical" else 0),
        iota=float(wout.iotas[1:].mean()),
        magnetic_well=magnetic_well(wout),
        aspect_ratio=float(wout.aspect),
    )
