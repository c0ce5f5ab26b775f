"""Optuna's samplers as a planner."""

# pyright: basic, reportMissingImports=false

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from renkei.errors import UsageError, did_you_mean
from renkei.model.space import Choice, Constraint, Objective, Observation, Parameter, Point, Real, Space, Value
from renkei.planning._design import derived_seed
from renkei.planning._port import require
from renkei.planning.adapters._adapted import AdaptedPlanner, Trial

_CLASSES = {
    "gp": "GPSampler",
    "tpe": "TPESampler",
    "cmaes": "CmaEsSampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "qmc": "QMCSampler",
    "random": "RandomSampler",
}

_NEEDS = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",), "qmc": ("scipy",)}

_FOLLOWING = ("cmaes", "nsga2", "nsga3", "qmc")
"""Samplers that keep notes in a study of what they proposed: their study is gone through from the beginning."""

_ONE_OBJECTIVE = ("cmaes",)
_NO_CONSTRAINTS = ("cmaes", "qmc", "random")

_DEFAULTS: dict[str, dict[str, Any]] = {
    "gp": {"warn_independent_sampling": False},
    "tpe": {"constant_liar": True, "warn_independent_sampling": False},
    "cmaes": {"warn_independent_sampling": False},
    "qmc": {"scramble": True, "warn_independent_sampling": False, "warn_asynchronous_seeding": False},
}


class OptunaPlanner(AdaptedPlanner):
    """Proposes what a sampler of Optuna proposes (Akiba et al. 2019).

    Each `ask` builds a study in memory from the history. Samplers that look at nothing but trials (gp, tpe, random) are
    given them as finished trials. Those that keep notes in the study (cmaes, nsga2, nsga3, qmc) are led through the
    history once more, so they propose what they would in a study that was never interrupted. Pending points are running
    trials (tpe lies about them, as its option `constant_liar` says). An infeasible trial is a pruned one, which tpe
    steers away from and others do not look at; an abandoned one is a failed one. What is minimised is each objective's
    loss. Constraints on outputs are Optuna's constraints.

    Optuna has no pools: there the pool's point nearest to the proposal is tried, of those that are left. It has no
    constraints between parameters either: listed points satisfy them, other spaces with such constraints are refused.

    Args:
        space: What to search.
        objectives: At least one; cmaes takes one only.
        constraints: What outputs must satisfy; gp, tpe, nsga2 and nsga3 look at them, others are refused with any.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters; those outside the space are left out.
        sampler: gp (Gaussian process, expected improvement), tpe (tree-structured Parzen estimators), cmaes, nsga2,
            nsga3, qmc (quasi-random) or random.
        settings: Further arguments of the sampler's class, for example `n_startup_trials`.

    Raises:
        UsageError: The space cannot be searched, the sampler or a setting is not known or cannot do what is asked, or
            Optuna is not installed.
    """

    title = "Optuna"
    extra = "optuna"
    packages = ("optuna",)

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
        sampler: str = "gp",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if sampler not in _CLASSES:
            raise UsageError(
                f"Optuna has no sampler '{sampler}'.{did_you_mean(sampler, _CLASSES)}",
                f"Known samplers: {', '.join(_CLASSES)}.",
            )
        super().__init__(space, objectives, constraints, seed, warm)
        require(*_NEEDS.get(sampler, ()), extra=self.extra)
        if len(self.objectives) > 1 and sampler in _ONE_OBJECTIVE:
            raise UsageError(f"Optuna's sampler '{sampler}' takes one objective only.", "Take 'gp', 'tpe' or 'nsga2'.")
        if self.constraints and sampler in _NO_CONSTRAINTS:
            raise UsageError(f"Optuna's sampler '{sampler}' knows no constraints.", "Take 'gp', 'tpe' or 'nsga2'.")
        self._sampler = sampler
        self._settings = _DEFAULTS.get(sampler, {}) | dict(settings or {})
        self._check_settings()

    def propose(
        self, n: int, pending: Sequence[Point], left: Sequence[Point], seed: int
    ) -> Sequence[Mapping[str, Value]]:
        """Return the points of `n` further trials of a study of the history."""
        import optuna

        is_led = self._sampler in _FOLLOWING
        sampler = _led(self._new_sampler(derived_seed(self.seed, "optuna"))) if is_led else self._new_sampler(seed)
        study = optuna.create_study(directions=["minimize"] * len(self.objectives), sampler=sampler)
        distributions = {name: _distribution(parameter) for name, parameter in self._searched().items()}
        told = [*self.history, *(Trial(point, "pending") for point in pending if not self.space.problems(point))]
        for trial in told:
            (self._lead if is_led else self._add)(study, trial, distributions)
        return [self._point(study.ask(distributions).params) for _ in range(n)]

    def _add(self, study: Any, trial: Trial, distributions: Mapping[str, Any]) -> None:
        """Add a trial as it is."""
        import optuna

        study.add_trial(
            optuna.trial.create_trial(
                state=_state(trial),
                values=trial.losses or None,
                params=self._params(trial.point),
                distributions=dict(distributions),
                constraints=self._excesses(trial) or None,
            )
        )

    def _lead(self, study: Any, trial: Trial, distributions: Mapping[str, Any]) -> None:
        """Have the sampler propose a point, take the trial's for it, and tell how that went."""
        study.sampler.follow(self._params(trial.point))
        asked = study.ask(dict(distributions))
        study.sampler.follow({})
        for name, excess in self._excesses(trial).items():
            asked.set_constraint(name, excess)
        if trial.outcome != "pending":
            study.tell(asked, trial.losses or None, state=_state(trial))

    def _new_sampler(self, seed: int) -> Any:
        import optuna

        return getattr(optuna.samplers, _CLASSES[self._sampler])(seed=seed, **self._settings)

    def _check_settings(self) -> None:
        import optuna

        known = list(inspect.signature(getattr(optuna.samplers, _CLASSES[self._sampler])).parameters)
        if unknown := [name for name in self._settings if name not in known or name == "seed"]:
            raise UsageError(
                f"Optuna's sampler '{self._sampler}' has no setting '{unknown[0]}'.{did_you_mean(unknown[0], known)}",
                f"Its settings: {', '.join(name for name in known if name != 'seed')}.",
            )

    def _searched(self) -> dict[str, Parameter]:
        return {p.name: p for p in self.space.parameters}

    def _params(self, point: Point) -> dict[str, Any]:
        """Return a point as Optuna is told of it: of choices the index, because True and 1 are equal."""
        return {
            p.name: _index(p, point[p.name]) if isinstance(p, Choice) else point[p.name] for p in self.space.parameters
        }

    def _point(self, params: Mapping[str, Any]) -> Point:
        return {
            p.name: p.values[params[p.name]] if isinstance(p, Choice) else params[p.name] for p in self.space.parameters
        }

    def _excesses(self, trial: Trial) -> dict[str, float]:
        """Return how far each output lies beyond each of its bounds; 0 or less where the constraint holds."""
        found: dict[str, float] = {}
        for place, (constraint, value) in enumerate(zip(self.constraints, trial.bounded, strict=False)):
            for name, excess in (("lower", constraint.lower - value), ("upper", value - constraint.upper)):
                if excess != float("-inf"):
                    found[f"{place} {constraint.output} {name}"] = excess
        return found


def _led(sampler: Any) -> Any:
    """Return a sampler that proposes what `sampler` does, except where it follows what was tried before.

    `sampler` is asked in any case, so its random numbers and its notes are those of a study that was never interrupted.
    """
    from optuna.samplers import BaseSampler

    class Led(BaseSampler):
        def __init__(self) -> None:
            self._params: Mapping[str, Any] = {}

        def follow(self, params: Mapping[str, Any]) -> None:
            self._params = params

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return sampler.infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            proposed = sampler.sample_relative(study, trial, search_space)
            return {name: self._params.get(name, value) for name, value in proposed.items()}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            proposed = sampler.sample_independent(study, trial, param_name, param_distribution)
            return self._params.get(param_name, proposed)

        def before_trial(self, study: Any, trial: Any) -> None:
            sampler.before_trial(study, trial)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            sampler.after_trial(study, trial, state, values)

    return Led()


def _state(trial: Trial) -> Any:
    from optuna.trial import TrialState

    return {
        "observed": TrialState.COMPLETE,
        "infeasible": TrialState.PRUNED,
        "abandoned": TrialState.FAIL,
        "pending": TrialState.RUNNING,
    }[trial.outcome]


def _distribution(parameter: Parameter) -> Any:
    from optuna import distributions

    if isinstance(parameter, Choice):
        return distributions.CategoricalDistribution(range(len(parameter.values)))
    kind = distributions.FloatDistribution if isinstance(parameter, Real) else distributions.IntDistribution
    return kind(parameter.low, parameter.high, log=parameter.log)


def _index(choice: Choice, value: Value) -> int:
    return next(i for i, known in enumerate(choice.values) if type(known) is type(value) and known == value)
