"""Stellarator equilibria: physics that is known, and agreement with simsopt."""

import re
from pathlib import Path
from typing import Any

import pytest

from renkei.errors import Infeasible
from renkei.model.procedure import outputs_of, procedure_of
from renkei.science.fusion import Equilibrium, stellarator_equilibrium

vmecpp: Any = pytest.importorskip("vmecpp", reason="needs the extra fusion: pip install 'renkei[fusion]'")


def good() -> Equilibrium:
    return stellarator_equilibrium(
        aspect_ratio=7.0,
        helical_elongation=0.5,
        axis_excursion=0.117,
        vertical_elongation=0.102,
        mirror=0.048,
        triangularity=-0.06,
    )


def test_circular_torus_is_a_perfectly_symmetric_field_without_transform() -> None:
    torus = stellarator_equilibrium(aspect_ratio=6, helical_elongation=0, axis_excursion=0)
    assert torus.quasisymmetry_error < 1e-12
    assert abs(torus.iota) < 1e-12
    assert torus.aspect_ratio == pytest.approx(6)
    # V' of a vacuum torus follows from R^2 averaged over its circles: it grows outwards, a hill
    assert -0.05 < torus.magnetic_well < 0


def test_well_shaped_boundary_is_nearly_quasiaxisymmetric() -> None:
    field = good()
    assert field.quasisymmetry_error == pytest.approx(0.0060, rel=0.02)
    assert field.iota == pytest.approx(0.406, rel=0.01)
    assert field.aspect_ratio == pytest.approx(7.0, rel=0.01)
    found = procedure_of(stellarator_equilibrium)
    assert found is not None
    assert outputs_of(field, found.spec)[0].keys() == {"quasisymmetry_error", "iota", "magnetic_well", "aspect_ratio"}


def test_rotating_ellipse_twists_the_field_lines_more_the_longer_it_is() -> None:
    iotas = [stellarator_equilibrium(6, elongation, 0.0).iota for elongation in (0.1, 0.3, 0.5)]
    assert 0 < iotas[0] < iotas[1] < iotas[2]


def test_strongly_helical_axis_is_nearer_to_helical_symmetry_of_its_own_hand() -> None:
    from renkei.science._quasisymmetry import two_term_error
    from renkei.science._vmec import Boundary, solve

    wout = solve(Boundary(8, 0.2, 0.25, 0.0, 0.0, 0.0, field_periods=4))
    axial, own, other = (two_term_error(wout, helicity_n) for helicity_n in (0, 1, -1))
    assert own < axial / 2 < other / 4
    procedure_says = stellarator_equilibrium(8, 0.2, 0.25, field_periods=4, symmetry="helical").quasisymmetry_error
    assert procedure_says == own


def test_same_point_gives_the_same_bits() -> None:
    assert good() == good()


def test_boundary_that_crosses_itself_is_infeasible() -> None:
    with pytest.raises(Infeasible, match=r"no equilibrium.*failed during the first iterations"):
        stellarator_equilibrium(7, 0.59, 0.24, vertical_elongation=-0.24, triangularity=0.3)


def test_solver_that_runs_out_of_iterations_is_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("renkei.science._vmec.ITERATIONS", 20)
    with pytest.raises(Infeasible, match="did not converge"):
        good()


def test_any_other_failure_of_the_solver_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("Resource temporarily unavailable")

    monkeypatch.setattr(vmecpp, "run", broken)
    with pytest.raises(RuntimeError, match=re.escape("Resource temporarily unavailable")):
        good()


def test_solver_writes_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    good()
    with pytest.raises(Infeasible):
        stellarator_equilibrium(7, 0.59, 0.24, vertical_elongation=-0.24, triangularity=0.3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore")  # simsopt's own, at import
def test_measures_agree_with_simsopt(tmp_path: Path) -> None:
    from renkei.science._quasisymmetry import SURFACES, two_term_error
    from renkei.science._vmec import Boundary, magnetic_well, solve

    compatible: Any = pytest.importorskip("vmecpp.simsopt_compat")
    diagnostics: Any = pytest.importorskip("simsopt.mhd.vmec_diagnostics")
    wout = solve(Boundary(6, 0.4, 0.15, 0.1, 0.05, -0.1, 2))
    file = tmp_path / "wout_stellarator.nc"
    wout.save(file)
    theirs = compatible.Vmec(str(file))
    for helicity_n in (0, 1):
        residual = diagnostics.QuasisymmetryRatioResidual(theirs, SURFACES, 1, helicity_n)
        assert two_term_error(wout, helicity_n) == pytest.approx(residual.total(), rel=1e-9)
    assert magnetic_well(wout) == pytest.approx(theirs.vacuum_well(), rel=1e-9)
    assert wout.iotas[1:].mean() == pytest.approx(theirs.mean_iota(), rel=1e-9)


def test_figures_stored_from_simsopt_hold() -> None:
    # simsopt 1.11.1: QuasisymmetryRatioResidual(vmec, 0, 0.1, ... 1, 1, 0).total(), mean_iota(), vacuum_well()
    field = stellarator_equilibrium(6, 0.4, 0.15, 0.1, 0.05, -0.1)
    assert field.quasisymmetry_error == pytest.approx(0.0583420646822, rel=1e-6)
    assert field.iota == pytest.approx(0.307103236, rel=1e-6)
    assert field.magnetic_well == pytest.approx(-0.0592989692, rel=1e-5)
