"""Planners of renkei keep to the contract that planners of others are held to."""

import pytest

from renkei.planning.bayesian import bayesian
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner
from renkei.testing.planners import PlannerContract, PlannerLab


class TestRandom(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return PlannerLab(RandomPlanner, learns=False)


class TestSobol(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return PlannerLab(SobolPlanner, learns=False)


class TestBayesian(PlannerContract):
    @pytest.fixture
    def lab(self) -> PlannerLab:
        return PlannerLab(bayesian)
