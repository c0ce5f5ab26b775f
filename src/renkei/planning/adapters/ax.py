"""Ax as a planner."""

# pyright: basic, reportMissingImports=false

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from renkei.errors import UsageError, did_you_mean
from renkei.model.space import Choice, Constraint, Objective, Observation, Parameter, Point, Real, Space, Value
from renkei.planning._design import derived_seed
from renkei.planning.adapters._adapted import AdaptedPlanner, Trial

_METHODS = ("fast", "quality", "random_search")
_MIN_OBSERVED = 2
"""Ax asks its model from so many observed trials on."""


class AxPlanner(AdaptedPlanner):
    """Proposes what Ax proposes (Olson et al. 2025), which searches with BoTorch.

    Each `ask` makes a client that is given the whole history. The first points are Ax's initial design: the centre of
    the space, then a Sobol sequence. Pending points are running trials. An infeasible trial is an abandoned one in the
    words of Ax, which never proposes it again, and an abandoned one is a failed one. Metrics are each objective's loss,
    to be minimised, with its standard deviation where every trial has one, and the outputs that have constraints.
    Constraints between parameters are Ax's own.

    Ax has no pools here: the pool's point nearest to the proposal is tried, of those that are left.

    Args:
        space: What to search. Constraints between parameters must be inequalities between those without a log scale,
            unless the points can be listed.
        objectives: At least one.
        constraints: What outputs must satisfy.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters; those outside the space are left out.
        method: fast (Ax's default), quality (a fully Bayesian model, slow) or random_search.
        initial: Points of the initial design.

    Raises:
        UsageError: The space cannot be searched, an option is wrong, or Ax is not installed.
    """

    title = "Ax"
    extra = "ax"
    packages = ("ax",)
    has_parameter_constraints = True

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
        method: str = "fast",
        initial: int = 5,
    ) -> None:
        if method not in _METHODS:
            raise UsageError(
                f"Ax has no method '{method}'.{did_you_mean(method, _METHODS)}",
                f"Known methods: {', '.join(_METHODS)}.",
            )
        if type(initial) is not int or initial < 1:
            raise UsageError(f"Option initial: found {initial!r}, expected a whole number of at least 1.")
        super().__init__(space, objectives, constraints, seed, warm)
        self._method = method
        self._initial = initial
        searched = [p for p in space.parameters if _n_values(p) != 1]
        self._parameters = {f"x{place}": parameter for place, parameter in enumerate(searched)}
        self._inequalities = [] if self.is_listed else list(self._texts())

    def propose(
        self, n: int, pending: Sequence[Point], left: Sequence[Point], seed: int
    ) -> Sequence[Mapping[str, Value]]:
        """Return `n` points of the initial design or of Ax's model."""
        known = [trial for trial in self.history if trial.outcome == "observed"]
        index = len(self.history) + len(pending)
        if self._method == "random_search" or index < self._initial or len(known) < _MIN_OBSERVED:
            return self._designed(index + n)[index:]
        _forgo_kernel()
        client = self._client(seed)
        client.configure_generation_strategy(method=self._method, initialization_budget=0)
        has_noise = all(math.isfinite(noise) for trial in known for noise in trial.noise)
        for trial in self.history:
            at = client.attach_trial(self._params(trial.point))
            if trial.outcome == "observed":
                client.complete_trial(at, raw_data=self._measured(trial, has_noise))
            elif trial.outcome == "infeasible":
                client.mark_trial_abandoned(at)
            else:
                client.mark_trial_failed(at)
        for point in pending:
            if not self.space.problems(point):
                client.attach_trial(self._params(point))
        return [self._point(params) for params in client.get_next_trials(max_trials=n).values()]

    def _designed(self, n: int) -> list[Point]:
        """Return the first `n` points of the initial design."""
        client = self._client(derived_seed(self.seed, "ax"))
        client.configure_generation_strategy(
            method="random_search", initialization_random_seed=derived_seed(self.seed, "ax")
        )
        return [self._point(params) for params in client.get_next_trials(max_trials=n).values()]

    def _client(self, seed: int) -> Any:
        from ax.api.client import Client

        client = Client(random_seed=seed)
        client.configure_experiment([_config(name, p) for name, p in self._parameters.items()], self._inequalities)
        bounds: list[str] = []
        for place, constraint in enumerate(self.constraints):
            for sign, bound in ((">=", constraint.lower), ("<=", constraint.upper)):
                if math.isfinite(bound):
                    bounds.append(f"c{place} {sign} {bound!r}")
        client.configure_optimization(", ".join(f"-y{place}" for place in range(len(self.objectives))), bounds)
        return client

    def _measured(self, trial: Trial, has_noise: bool) -> dict[str, Any]:
        names = [f"y{i}" for i in range(len(trial.losses))] + [f"c{i}" for i in range(len(trial.bounded))]
        values = zip(names, (*trial.losses, *trial.bounded), trial.noise, strict=True)
        return {name: (value, noise) if has_noise else value for name, value, noise in values}

    def _params(self, point: Point) -> dict[str, Any]:
        """Return a point as Ax is told of it: of choices the index, because True and 1 are equal."""
        return {name: _told(parameter, point[parameter.name]) for name, parameter in self._parameters.items()}

    def _point(self, params: Mapping[str, Any]) -> Point:
        point = {p.name: _values(p)[0] for p in self.space.parameters}
        for name, parameter in self._parameters.items():
            value = params[name]
            point[parameter.name] = parameter.values[int(value)] if isinstance(parameter, Choice) else value
        return point

    def _texts(self) -> list[str]:
        """Return the constraints between parameters as Ax reads them, without parameters that have one value.

        Raises:
            UsageError: Ax has no such constraints.
        """
        names = {parameter.name: name for name, parameter in self._parameters.items()}
        found: list[str] = []
        for constraint in self.space.constraints:
            terms = [(factor, names[name]) for name, factor in constraint.terms if name in names]
            if any(getattr(self._parameters[name], "log", False) for _, name in terms):
                raise UsageError(
                    "Ax knows no constraints between parameters on a log scale.", "Take planner 'bayesian'."
                )
            if constraint.lower == constraint.upper:
                raise UsageError("Ax knows no equations between parameters.", "Take planner 'bayesian'.")
            fixed = sum(factor * _values(self.space[name])[0] for name, factor in constraint.terms if name not in names)
            text = " + ".join(f"{factor!r} * {name}" for factor, name in terms)
            for sign, bound in ((">=", constraint.lower), ("<=", constraint.upper)):
                if text and math.isfinite(bound):
                    found.append(f"{text} {sign} {bound - fixed!r}")
        return found


def _forgo_kernel() -> None:
    """Keep BoTorch from compiling C++ for several objectives, where there is a compiler.

    Points would be others than on a machine without one; and where a process was killed while it compiled, all others
    wait for ever.
    """
    module: Any = import_module("botorch.acquisition.multi_objective.logei")
    module._load_attempted = True


def _config(name: str, parameter: Parameter) -> Any:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if isinstance(parameter, Choice):
        values = [str(place) for place in range(len(parameter.values))]
        return ChoiceParameterConfig(name, values, "str", is_ordered=False)
    kind = "float" if isinstance(parameter, Real) else "int"
    scaling = "log" if parameter.log else "linear"
    return RangeParameterConfig(name, (parameter.low, parameter.high), kind, scaling=scaling)


def _told(parameter: Parameter, value: Value) -> Any:
    if isinstance(parameter, Choice):
        return str(next(i for i, v in enumerate(parameter.values) if type(v) is type(value) and v == value))
    return float(value) if isinstance(parameter, Real) else value


def _values(parameter: Parameter) -> Sequence[Any]:
    return parameter.values if isinstance(parameter, Choice) else (parameter.low,)


def _n_values(parameter: Parameter) -> float:
    if isinstance(parameter, Choice):
        return len(parameter.values)
    return 1 if parameter.low == parameter.high else math.inf
