# pyright: basic, reportMissingImports=false
"""Optuna through ask and tell."""

import warnings
from collections.abc import Sequence

import optuna
from benchmarks.planning.peers import Setting
from benchmarks.planning.peers._nearest import Nearest
from benchmarks.planning.problem import Result
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import TrialState

from renkei.model.space import Choice, Parameter, Point, Real

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class OptunaPeer:
    """One study; trials that failed or are infeasible are told as failed, which is all that Optuna has for them."""

    def __init__(self, setting: Setting, sampler: BaseSampler) -> None:
        self._study = optuna.create_study(sampler=sampler)
        self._space = {p.name: _distribution(p) for p in setting.problem.space.parameters}
        self._nearest = Nearest(setting.problem)
        self._asked: list[optuna.Trial] = []

    def ask(self, n: int) -> list[Point]:
        """Return the parameters of `n` running trials."""
        self._asked = [self._trial() for _ in range(n)]
        return [dict(trial.params) for trial in self._asked]

    def tell(self, results: Sequence[Result]) -> None:
        """End the running trials."""
        for trial, result in zip(self._asked, results, strict=True):
            if result.outcome == "observed":
                self._study.tell(trial, result.seen)
            else:
                self._study.tell(trial, state=TrialState.FAIL)

    def _trial(self) -> optuna.Trial:
        trial = self._study.ask(self._space)
        if not self._nearest:
            return trial
        row = self._nearest.take(dict(trial.params))
        self._study.tell(trial, state=TrialState.FAIL)  # samplers pass over it
        self._study.enqueue_trial(row)
        return self._study.ask(self._space)


def gaussian_process(setting: Setting) -> OptunaPeer:
    """Return Optuna with its Gaussian process."""
    return OptunaPeer(setting, GPSampler(seed=setting.seed, warn_independent_sampling=False))


def tpe(setting: Setting) -> OptunaPeer:
    """Return Optuna with its default, the tree-structured Parzen estimator."""
    return OptunaPeer(setting, TPESampler(seed=setting.seed, constant_liar=setting.batch > 1))


def _distribution(parameter: Parameter) -> FloatDistribution | IntDistribution | CategoricalDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, Real):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return IntDistribution(parameter.low, parameter.high, log=parameter.log)
