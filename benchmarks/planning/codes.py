"""Scientific codes as problems: a stellarator, a quantum memory, a beam line. What is desired is one number each."""

import math
from functools import lru_cache
from importlib import import_module
from typing import Any

from benchmarks.planning.problem import Problem

from renkei.errors import Infeasible
from renkei.model.space import Choice, Integer, Point, Real, Space
from renkei.science.fusion import stellarator_equilibrium
from renkei.science.quantum import Memory, surface_code_memory


def stellarator() -> Problem:
    """Return a plasma boundary of mixed parameters; boundaries without an equilibrium are infeasible.

    The loss is log10 of the quasisymmetry error, plus 4 for each unit that iota falls short of 0.4, plus what the
    aspect ratio exceeds 7.
    """
    space = Space(
        (
            Real("aspect_ratio", 4, 10),
            Real("helical_elongation", 0, 0.6),
            Real("axis_excursion", 0, 0.3),
            Real("vertical_elongation", -0.3, 0.3),
            Real("mirror", -0.2, 0.2),
            Real("triangularity", -0.3, 0.3),
            Integer("field_periods", 2, 4),
            Choice("symmetry", ("axisymmetric", "helical")),
        )
    )
    return Problem(
        name="stellarator",
        kind="code",
        about="VMEC++: a compact, twisted, quasisymmetric stellarator; 6 real, 1 integer, 1 choice; some infeasible",
        space=space,
        truth=_stellarator,
    )


def _stellarator(point: Point) -> float:
    try:
        shape = stellarator_equilibrium(**_any(point))
    except Infeasible:
        return math.nan
    return math.log10(shape.quasisymmetry_error) + 4 * max(0.0, 0.4 - shape.iota) + max(0.0, shape.aspect_ratio - 7)


def quantum_memory() -> Problem:
    """Return a surface-code memory seen through 2,000 shots; the truth is that of 20,000 shots.

    The loss is log10 of the logical error rate plus the price of its qubits, 1 for every 50.
    """
    space = Space(
        (
            Integer("distance_x", 2, 7),
            Integer("distance_z", 2, 7),
            Real("gate_time", 10, 100, "ns", log=True),
            Real("readout_time", 50, 1500, "ns", log=True),
        )
    )
    return Problem(
        name="quantum-memory",
        kind="code",
        about="stim and PyMatching: a surface code with few errors and qubits; 2 integer, 2 real (log); sampling noise",
        space=space,
        truth=lambda point: _memory_loss(point, shots=20_000, seed=0),
        measure=lambda point, luck: _memory_loss(point, shots=2_000, seed=luck.randrange(1, 2**30)),
    )


def _memory_loss(point: Point, shots: int, seed: int) -> float:
    memory: Memory = surface_code_memory(**_any(point), rounds=6, shots=shots, seed=seed)
    return math.log10(memory.logical_error_rate) + memory.qubits / 50


def beam_line() -> Problem:
    """Return a beam line of three quadrupoles and two correctors that is to focus and centre a beam on a screen.

    The task of J. Kaiser et al., Sci. Rep. 14, 15733 (2024), with a beam of our own. The loss is log10 of the mean of
    the beam's sizes and offsets in x and y, in micrometres.
    """
    return Problem(
        name="beam-line",
        kind="code",
        about="Cheetah: an electron beam focused and centred on a screen by 3 quadrupoles and 2 correctors; 5 real",
        space=Space(
            (
                Real("q1", -30, 30, "1/m^2"),
                Real("q2", -30, 30, "1/m^2"),
                Real("cv", -6, 6, "mrad"),
                Real("q3", -30, 30, "1/m^2"),
                Real("ch", -6, 6, "mrad"),
            )
        ),
        truth=_beam_loss,
        noise=0.02,
    )


@lru_cache
def _line() -> tuple[Any, Any]:
    import torch

    cheetah: Any = import_module("cheetah")

    def number(value: float) -> torch.Tensor:
        return torch.tensor(value, dtype=torch.float32)

    def drift(length: float) -> Any:
        return cheetah.Drift(length=number(length))

    def quadrupole(name: str) -> Any:
        return cheetah.Quadrupole(length=number(0.122), k1=number(0.0), name=name)

    def corrector(kind: Any, name: str) -> Any:
        return kind(length=number(0.02), angle=number(0.0), name=name)

    beam = cheetah.ParameterBeam.from_parameters(
        mu_x=number(4e-4), mu_px=number(-6e-5), mu_y=number(-3e-4), mu_py=number(9e-5),
        sigma_x=number(3e-4), sigma_px=number(4e-5), sigma_y=number(2e-4), sigma_py=number(5e-5),
        energy=number(1e8),
    )  # fmt: skip
    line = cheetah.Segment(
        [
            drift(0.175),
            quadrupole("q1"),
            drift(0.428),
            quadrupole("q2"),
            drift(0.204),
            corrector(cheetah.VerticalCorrector, "cv"),
            drift(0.204),
            quadrupole("q3"),
            drift(0.179),
            corrector(cheetah.HorizontalCorrector, "ch"),
            drift(0.45),
        ]
    )
    return line, beam


def _beam_loss(point: Point) -> float:
    import torch

    line, beam = _line()
    for name, value in point.items():
        element = getattr(line, name)
        if name.startswith("q"):
            element.k1 = torch.tensor(float(value))
        else:
            element.angle = torch.tensor(float(value) * 1e-3)
    out = line.track(beam)
    parts = (out.mu_x.abs(), out.mu_y.abs(), out.sigma_x, out.sigma_y)
    return math.log10(1e6 * sum(float(part) for part in parts) / 4)


def _any(point: Point) -> dict[str, Any]:
    return dict(point)
