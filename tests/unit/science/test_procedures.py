"""What every procedure that renkei ships keeps to."""

import subprocess
import sys

import pytest

from renkei import units
from renkei.model.procedure import ProcedureSpec, procedure_of
from renkei.science import autolab, computing, fusion, quantum

SHIPPED = (
    autolab.photovoltaic_blend,
    computing.echo,
    fusion.stellarator_equilibrium,
    quantum.surface_code_memory,
)
SPECS = [found.spec for function in SHIPPED if (found := procedure_of(function)) is not None]


def test_all_four_are_procedures() -> None:
    assert [spec.name for spec in SPECS] == [
        "autolab.photovoltaic-blend",
        "computing.echo",
        "fusion.stellarator-equilibrium",
        "quantum.surface-code-memory",
    ]
    assert [spec.kind for spec in SPECS] == ["measurement", "simulation", "simulation", "simulation"]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_contract_is_publishable(spec: ProcedureSpec) -> None:
    assert ProcedureSpec.from_json(spec.to_json()) == spec
    assert spec.summary.endswith(".")
    for part in (*spec.parameters, *spec.outputs):
        assert units.check(part.unit) == part.unit
    for parameter in spec.parameters:
        if parameter.name in spec.defaults:
            assert parameter.problem(spec.defaults[parameter.name]) is None


def test_listing_procedures_loads_no_heavy_package() -> None:
    code = (
        "import sys\n"
        "import renkei.science.autolab, renkei.science.computing, renkei.science.fusion, renkei.science.quantum\n"
        "heavy = {'jax', 'numpy', 'olympus', 'pymatching', 'scipy', 'stim', 'torch', 'vmecpp'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_echo_returns_its_input() -> None:
    assert computing.echo(0.25) == 0.25
