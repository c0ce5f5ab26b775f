"""Optimisers, each used as its own documentation recommends, behind the one thing that a campaign needs of them.

Everything is left at its default unless a module of this package says why not. None of them goes through renkei's
adapters.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from benchmarks.planning.problem import Problem, Result

import renkei
from renkei.model.space import Point


class Peer(Protocol):
    """An optimiser in the middle of a campaign; points are asked for in batches, and a batch ends before the next."""

    def ask(self, n: int) -> list[Point]:
        """Return `n` points to evaluate together."""
        ...

    def tell(self, results: Sequence[Result]) -> None:
        """Learn how the points of the last `ask` ended, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What an optimiser may know before it begins."""

    problem: Problem
    seed: int
    batch: int
    n_evaluations: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the tables: its name, where it is made, the package whose version counts, and how it is used."""

    name: str
    module: str
    make: str
    package: str
    use: str

    def start(self, setting: Setting) -> Peer:
        """Return the optimiser at the beginning of a campaign."""
        make: Callable[[Setting], Peer] = getattr(import_module(f"benchmarks.planning.peers.{self.module}"), self.make)
        return make(setting)

    @property
    def version(self) -> str:
        """What results are kept under: the package's version; for `bayesian` a digest of its sources too."""
        if self.package != "renkei":
            return f"{self.package} {version(self.package)}"
        return f"renkei {renkei.__version__}" + (f"+{_digest()}" if self.name == "renkei" else "")


ENTRIES = (
    Entry("renkei", "ours", "bayesian", "renkei", "planner `bayesian`, no option set"),
    Entry("optuna-gp", "optuna_", "gaussian_process", "optuna", "`GPSampler`; pools: nearest row not yet taken"),
    Entry(
        "optuna-tpe",
        "optuna_",
        "tpe",
        "optuna",
        "`TPESampler`, `constant_liar` in batches; pools: nearest row not yet taken",
    ),
    Entry("ax", "ax_", "AxPeer", "ax-platform", "`Client`, method `fast`; pools: nearest row not yet taken"),
    Entry(
        "smac",
        "smac_",
        "SmacPeer",
        "smac",
        "`BlackBoxFacade` (Gaussian process) where all is real, else `HyperparameterOptimizationFacade` (a forest);"
        " trained again after every batch; pools: nearest row not yet taken",
    ),
    Entry("nevergrad", "nevergrad_", "NevergradPeer", "nevergrad", "`NGOpt`, mended for NumPy 2.4; pools: nearest row"),
    Entry(
        "physbo",
        "physbo_",
        "PhysboPeer",
        "physbo",
        "as NIMO calls it: expected improvement, exact Gaussian process, 10 random points first; spaces without a pool:"
        " 2,048 candidates of a Sobol sequence",
    ),
    Entry(
        "baybe",
        "baybe_",
        "BaybePeer",
        "baybe",
        "`Campaign`; of more than 20 discrete combinations in a mixed space 20, drawn anew for each point",
    ),
    Entry("sobol", "ours", "sobol", "renkei", "scrambled Sobol sequence (renkei's planner `sobol`)"),
    Entry("random", "ours", "random", "renkei", "uniform (renkei's planner `random`)"),
)


@cache
def _digest() -> str:
    """Return eight digits that change with the sources of renkei's planners."""
    root = Path(renkei.__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted((root / "planning").glob("*.py")), root / "model" / "space.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
