# pyright: basic, reportMissingImports=false
"""SMAC through ask and tell."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.planning.peers import Setting
from benchmarks.planning.peers._nearest import Nearest
from benchmarks.planning.problem import Result
from ConfigSpace import Categorical, Configuration, ConfigurationSpace, Float, Integer
from smac import BlackBoxFacade, HyperparameterOptimizationFacade, Scenario
from smac.runhistory import StatusType, TrialInfo, TrialValue

from renkei.model.space import Choice, Parameter, Point, Real


class SmacPeer:
    """One scenario, declared deterministic so that no evaluation goes into repeating a point.

    Its models are trained again after every batch and not, as by default, after eight trials only. Trials that failed
    or are infeasible are told as crashed, and count as bad as the worst that was seen.
    """

    def __init__(self, setting: Setting) -> None:
        parameters = setting.problem.space.parameters
        self._folder = tempfile.TemporaryDirectory(prefix="smac-")
        self._space = ConfigurationSpace(seed=setting.seed, space=[_hyperparameter(p) for p in parameters])
        scenario = Scenario(
            self._space,
            deterministic=True,
            n_trials=setting.n_evaluations,
            seed=setting.seed,
            output_directory=Path(self._folder.name),
        )
        facade = BlackBoxFacade if all(isinstance(p, Real) for p in parameters) else HyperparameterOptimizationFacade
        self._smac = facade(
            scenario,
            _never_called,
            config_selector=facade.get_config_selector(scenario, retrain_after=setting.batch),
            logging_level=False,
            overwrite=True,
        )
        self._nearest = Nearest(setting.problem)
        self._asked: list[TrialInfo] = []
        self._worst = 0.0

    def ask(self, n: int) -> list[Point]:
        """Return the configurations of `n` trials."""
        self._asked = [self._trial() for _ in range(n)]
        return [_plain(trial.config) for trial in self._asked]

    def tell(self, results: Sequence[Result]) -> None:
        """End the trials."""
        self._worst = max([self._worst, *(r.seen for r in results if r.outcome == "observed")])
        for trial, result in zip(self._asked, results, strict=True):
            works = result.outcome == "observed"
            value = TrialValue(
                cost=result.seen if works else self._worst, status=StatusType.SUCCESS if works else StatusType.CRASHED
            )
            self._smac.tell(trial, value, save=False)

    def _trial(self) -> TrialInfo:
        trial = self._smac.ask()
        if not self._nearest:
            return trial
        row = Configuration(self._space, values=self._nearest.take(_plain(trial.config)))
        return TrialInfo(config=row, seed=trial.seed)


def _never_called(config: Configuration, seed: int) -> float:  # noqa: ARG001  SMAC looks at the names
    raise AssertionError("SMAC evaluates by itself though it is asked and told")


def _plain(config: Configuration) -> Point:
    return {name: value.item() if hasattr(value, "item") else value for name, value in dict(config).items()}


def _hyperparameter(parameter: Parameter):
    if isinstance(parameter, Choice):
        return Categorical(parameter.name, list(parameter.values))
    make = Float if isinstance(parameter, Real) else Integer
    return make(parameter.name, (parameter.low, parameter.high), log=parameter.log)
