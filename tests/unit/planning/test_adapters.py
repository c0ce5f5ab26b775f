"""Adapters keep to the contract of planners, each where its package is installed."""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from renkei.planning.adapters.ax import AxPlanner
from renkei.planning.adapters.gest import GestPlanner
from renkei.planning.adapters.nimo import NimoPlanner
from renkei.planning.adapters.optuna import OptunaPlanner
from renkei.planning.adapters.physbo import PhysboPlanner
from renkei.testing.planners import PlannerContract, PlannerLab

MISSING: list[str] = []


def needs(*packages: str) -> Callable[[type], type]:
    """Leave a class of tests out where it cannot be run, and remember why."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]

    def left_out(tests: type) -> type:
        if missing:
            tests.__test__ = False  # type: ignore[attr-defined]
            MISSING.append(f"{tests.__name__}: not installed: {', '.join(missing)}")
        return tests

    return left_out


def lab_of(make: Callable[..., Any], **can: Any) -> PlannerLab:
    return PlannerLab(make, **({"has_parameter_constraints": False} | can))


@needs("optuna", "torch")
class TestOptunaGp(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(partial(OptunaPlanner, sampler="gp"))


@needs("optuna")
class TestOptunaTpe(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(partial(OptunaPlanner, sampler="tpe"), n_initial=14)


@needs("optuna", "cmaes")
class TestOptunaCmaEs(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        make = partial(OptunaPlanner, sampler="cmaes")
        return lab_of(make, learns=False, has_constraints=False, has_several_objectives=False)


@needs("optuna")
class TestOptunaNsga2(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(partial(OptunaPlanner, sampler="nsga2", settings={"population_size": 6}), learns=False)


@needs("optuna", "scipy")
class TestOptunaQmc(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(partial(OptunaPlanner, sampler="qmc"), learns=False, has_constraints=False)


@needs("ax")
class TestAx(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(AxPlanner, n_initial=8, has_parameter_constraints=True)


@needs("physbo")
class TestPhysbo(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(PhysboPlanner, has_reals=False, has_constraints=False)


@needs("nimo", "physbo")
class TestNimo(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(NimoPlanner, has_reals=False, has_constraints=False)


@needs("gest_api")
class TestGest(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return lab_of(partial(GestPlanner, generator="gest_generators:Climber"))


@pytest.mark.parametrize("why", MISSING)
def test_adapters_are_tested_where_their_packages_are(why: str) -> None:
    pytest.skip(why)
