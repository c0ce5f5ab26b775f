"""Bayesian optimisation with BoTorch; torch is imported when a point is first asked for that needs a model."""

import logging
import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from renkei.errors import UsageError
from renkei.model.space import Constraint, Objective, Observation, Point, Space
from renkei.planning._abandoned import Abandoned
from renkei.planning._codec import Codec, Key
from renkei.planning._design import derived_seed
from renkei.planning._history import History
from renkei.planning._listing import Listed, Places
from renkei.planning._port import Planner, Source, require
from renkei.planning._rows import RowCodec
from renkei.planning.sobol import sobol_design

if TYPE_CHECKING:
    from renkei.planning._confined import Confined
    from renkei.planning._search import Search
    from renkei.planning._surrogate import Surrogate

_log = logging.getLogger(__name__)

_MIN_WORKING = 3
"""No model is asked before so many trials, earlier campaigns included, gave every output."""

_MAX_LISTED = 10_000
"""Discrete spaces of at most so many points are compared point by point, like a pool."""

_N_CANDIDATES = 1024
"""Points of a design from which candidates are made where constraints between parameters hold."""

_MAX_COMPARED = 2048
"""Of more listed points than this, only those that a cheaper look finds promising are compared."""

_N_COMING = 16
"""Points of the design that are looked at for one that is not known; in all but the narrowest spaces the first is."""

_MAX_GIVEN_UP = 32
"""Of the points that were abandoned for good only the last are kept in mind by the acquisition."""

_OUTCOMES = ("observed", "infeasible", "abandoned")


class BayesianPlanner:
    """Proposes points where a model of what was observed expects the largest improvement.

    The first point is the center of the space, those after it a Sobol design; in a pool, each of them is the one
    farthest from those before. Then each output has a Gaussian process (Matern-5/2, one lengthscale a parameter,
    noise learned or as observed), and points come one after another from the acquisition: the logarithm of the
    noisy expected improvement for one objective, of the noisy expected hypervolume improvement for several (Letham
    et al. 2019; Ament et al. 2023; Golovin and Zhang 2020), where constraints are likely to hold. Outputs are
    modelled standardised, in the logarithm or a Yeo-Johnson power where that makes them less skewed; wild values on
    the bad side of a single objective are clipped. Hypervolumes and distances from a target are those of the
    outputs themselves.

    A trial that was infeasible gets no value; a further process learns from all trials where points work, and its
    probability is a factor of the acquisition. A trial that was observed with an output missing or not finite counts as
    infeasible. An abandoned one told nothing of its point, which may be the best there is: for a few trials it is
    treated as if it were still on its way, then the point may come again, up to five times in all, with longer and
    longer rests.

    Any other point that is told or pending is not proposed again. `ask(n)` gives the points of n calls of `ask(1)`,
    each with the former ones pending. Where a fit fails numerically a Sobol point is proposed and a warning logged.

    Args:
        space: What to search. Every point of a pool is compared, and of a discrete space of up to 10,000 points; where
            more than 2,048 are left, those among them that the model finds promising at one quantile or another.
        objectives: At least one.
        constraints: What outputs must satisfy.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters: the model learns from them, and each that gave
            every output saves a point of the initial design. They do not count as trials and may be proposed again.
        initial: Points of the initial design; by default two more than there are parameters, at least 5, at most 16,
            and in a pool as many as there are parameters, at least 5, at most 8.
        device: Where the acquisition is computed: "cpu", "cuda", or "auto" for the first NVIDIA or AMD GPU that torch
            sees, once the models keep 300 trials. Models are fitted on the CPU. Another device rounds otherwise, so the
            same history gives the same points on the same device only.

    Raises:
        UsageError: The space cannot be searched, an objective or option is wrong, BoTorch is not installed, or there is
            no such device.
    """

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
        initial: int | None = None,
        device: str = "cpu",
    ) -> None:
        require("botorch", "torch", "scipy")
        _check(objectives, constraints, initial)
        _check_device(device)
        self._device = device
        self._space = space
        self._objectives = tuple(objectives)
        self._constraints = tuple(constraints)
        self._seed = seed
        self._codec = Codec(space)
        self._design = sobol_design(space, seed)
        self._rows = RowCodec(space)
        outputs = dict.fromkeys([o.output for o in objectives] + [c.output for c in constraints])
        self._history = History(self._rows, list(outputs))
        self._n_told = 0
        self._taken: dict[Key, list[float]] = {}
        self._abandoned = Abandoned()
        self._listed: Listed | None = None
        self._fitted: Surrogate | None = None
        self._short: Places | None = None
        self._confinement: Confined | None = None
        self._counted: int | None = None
        self._keys(warm)
        for observation in warm:
            if observation.outcome != "abandoned":
                self._history.add(observation)
        wanted = _usual_initial(space) if initial is None else initial
        self._n_initial = max(0, wanted - self._history.n_works)

    def tell(self, observations: Sequence[Observation]) -> None:
        """Learn from ended trials: from all of them or, where one cannot be used, from none.

        Raises:
            UsageError: A point lacks a parameter or has an unknown choice, or an outcome is not known.
        """
        for key, observation in zip(self._keys(observations), observations, strict=True):
            self._n_told += 1
            row = self._rows.row(observation.point)
            if observation.outcome != "abandoned":
                self._history.add(observation)
            elif self._abandoned.add(key, row, self._n_told):
                continue
            self._taken[key] = row
            if self._listed is not None:
                self._listed.strike([key])
        self._design.tell(observations)
        self._fitted = self._short = None

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return up to `n` points; fewer, or none, when every point of a discrete space or pool is told or pending."""
        found: list[Point] = []
        while len(found) < n and (point := self._next([*pending, *found])) is not None:
            found.append(point)
        return found

    def _keys(self, observations: Sequence[Observation]) -> list[Key]:
        """Return the points' identities, all of them or, where one observation cannot be used, none."""
        for observation in observations:
            if observation.outcome not in _OUTCOMES:
                raise UsageError(
                    f"A planner does not know the outcome '{observation.outcome}'.",
                    f"Known outcomes: {', '.join(_OUTCOMES)}.",
                )
            for name, value in [*observation.outputs.items(), *observation.noise.items()]:
                if not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise UsageError(
                        f"A planner cannot use this output: {name}: found {value!r}, expected a number.",
                        "Leave out what was not measured.",
                    )
        return [self._codec.key(observation.point) for observation in observations]

    def _next(self, pending: list[Point]) -> Point | None:
        index = self._n_told + len(pending)
        if index >= self._n_initial and self._history.n_works >= _MIN_WORKING:
            return self._modelled(pending, derived_seed(self._seed, "ask", index))
        return self._designed(pending)

    def _designed(self, pending: list[Point]) -> Point | None:
        """Return the next point of the initial design; in a pool that farthest from all that is known."""
        if self._space.pool is None:
            [center] = self._codec.points([[0.5]] * len(self._space.parameters))
            if self._n_told + len(pending) + len(self._history) == 0 and self._codec.holds(center):
                return center
            keys = {self._codec.key(point) for point in pending} | self._taken.keys()
            coming = self._design.ask(_N_COMING, pending)
            return next((point for point in coming if self._codec.key(point) not in keys), None)
        listed, waiting = self._listing(), self._waiting(pending)
        left = self._left(pending)
        if len(left) == 0:
            return None
        known = np.concatenate([self._history.rows(), self._rows.stacked([*self._taken.values(), *waiting.values()])])
        seed = derived_seed(self._seed, "far", self._n_told + len(pending))
        return dict(listed.points[listed.farthest(left, known, seed)])

    def _waiting(self, pending: list[Point]) -> dict[Key, list[float]]:
        """Return the points on their way and, treated as such, those abandoned lately."""
        resting = self._abandoned.resting(self._n_told)
        return {**resting, **{self._codec.key(point): self._rows.row(point) for point in pending}}

    def _left(self, pending: list[Point]) -> Places:
        """Return the places of listed points that may come; those abandoned lately where there are no others."""
        left = self._listing().left(self._waiting(pending))
        return left if len(left) else self._listing().left(self._codec.key(point) for point in pending)

    def _modelled(self, pending: list[Point], seed: int) -> Point | None:
        """Return the point where the acquisition is largest; the design's if the models fail."""
        _import_models()
        from renkei.planning._surrogate import NUMERICAL_FAULTS, alone

        try:
            with alone(seed):
                point = self._best_listed(pending, seed) if self._is_listed else self._best_anywhere(pending, seed)
        except NUMERICAL_FAULTS as error:
            _log.warning("No model at trial %d, a Sobol point instead: %s", self._n_told + len(pending), error)
            point = None
        return point if point is not None else self._designed(pending)

    def _best_listed(self, pending: list[Point], seed: int) -> Point | None:
        listed, waiting = self._listing(), self._waiting(pending)
        left = self._left(pending)
        if len(left) < 2:
            return dict(listed.points[int(left[0])]) if len(left) else None
        if len(left) > _MAX_COMPARED and len(short := self._shortlist(listed, waiting)) > 0:
            left = short
        values = self._search(waiting, seed).values(listed.rows[left])
        return dict(listed.points[int(left[values.argmax()])])

    def _shortlist(self, listed: Listed, waiting: dict[Key, list[float]]) -> Places:
        """Return the places worth comparing; the same ones until something is told, except those `waiting`."""
        if self._short is None:
            left = listed.left(())
            self._short = left[self._surrogate().shortlist(listed.rows[left], derived_seed(self._seed, "short"))]
        return np.setdiff1d(self._short, listed.places(waiting))

    def _best_anywhere(self, pending: list[Point], seed: int) -> Point | None:
        waiting = self._waiting(pending)
        taken = self._rows.stacked([*self._taken.values(), *waiting.values()])
        best_rows = self._surrogate().best_rows
        search, confined = self._search(waiting, seed), self._confined()
        row = search.best_row(self._rows, best_rows, taken, derived_seed(seed, "rows"), confined)
        if row is None:
            return None
        [point] = self._rows.points(row[np.newaxis])
        key = self._codec.key(point)  # Rows that differ may be one point where a parameter is very narrow.
        return None if key in self._taken or key in waiting else point

    def _search(self, waiting: dict[Key, list[float]], seed: int) -> "Search":
        from renkei.planning._search import Search

        surrogate = self._surrogate()
        busy = [*self._abandoned.given_up(_MAX_GIVEN_UP), *waiting.values()]
        acquisition = surrogate.acquisition(self._rows.stacked(busy), derived_seed(seed, "samples"))
        return Search(acquisition, surrogate.n_rows * (len(busy) + 16), len(self._objectives))

    def _confined(self) -> "Confined | None":
        """Return where constraints between parameters hold, None where there are none."""
        if self._confinement is None and self._space.constraints:
            from renkei.planning._confined import Confined

            points = sobol_design(self._space, derived_seed(self._seed, "candidates")).ask(_N_CANDIDATES)
            self._confinement = Confined(self._space, self._rows, self._rows.rows(points))
        return self._confinement

    def _surrogate(self) -> "Surrogate":
        from renkei.planning._surrogate import Surrogate

        if self._fitted is None:
            self._fitted = Surrogate(self._history, self._objectives, self._constraints, self._device)
        return self._fitted

    @property
    def _is_listed(self) -> bool:
        if self._space.pool is not None:
            return True
        if self._counted is None:
            self._counted = self._codec.n_holding(_MAX_LISTED)
        return self._counted <= _MAX_LISTED

    def _listing(self) -> Listed:
        """Return the points that are compared one by one, those that were told struck off."""
        if self._listed is None:
            every = self._codec.every_point() if self._space.pool is None else iter(self._space.pool)
            self._listed = Listed(every, self._codec, self._rows)
            self._listed.strike(self._taken)
        return self._listed


def bayesian(
    space: Space,
    objectives: Sequence[Objective],
    *,
    constraints: Sequence[Constraint] = (),
    sources: Sequence[Source] = (),
    seed: int = 0,
    warm: Sequence[Observation] = (),
    initial: int | None = None,
    time: float = 1.0,
    device: str = "cpu",
) -> Planner:
    """Bayesian optimisation with BoTorch: proposes points where a model of what was observed expects most.

    The first point is the center of the space, those after it are a Sobol design; in a pool each is the one
    farthest from those before. Then each output has a Gaussian process (Matern-5/2), and points come one after
    another from the noisy expected improvement or, for several objectives, the noisy expected hypervolume
    improvement, where constraints are likely to hold and points are likely to work (`BayesianPlanner`).

    Where some sources do not count it chooses the source of every trial, too: it models the truth and each source's
    deviation from it, and compares what a trial would gain for its price and its time (`MultiSourcePlanner`). There it
    takes one objective.

    Args:
        space: What to search.
        objectives: At least one.
        constraints: What outputs must satisfy.
        sources: What to choose among, if not every source counts.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters.
        initial: Points of the initial design; by default two more than there are parameters, at least 5, at most 16,
            and in a pool as many as there are parameters, at least 5, at most 8. Where some sources do not count: at
            each of those, by default twice as many as there are parameters and two more, at least 6, at most 24.
        time: Where some sources do not count: what waiting is worth, against price.
        device: Where the acquisition is computed: "cpu", "cuda", or "auto" for a GPU that torch sees, once the history
            is long. The same history gives the same points on the same device. Where some sources do not count it is
            always computed on the CPU.

    Raises:
        UsageError: The space cannot be searched, an objective, a source or an option is wrong, or BoTorch is not
            installed.
    """
    if sources:
        if device == "cuda":
            raise UsageError("Option device: found 'cuda', but models of several sources are on the CPU alone.")
        _check_device(device)
        from renkei.planning._sources import MultiSourcePlanner

        return MultiSourcePlanner(
            space, objectives, sources, constraints=constraints, seed=seed, warm=warm, initial=initial, time=time
        )
    if time != 1.0:
        raise UsageError(f"Option time: found {time!r}, but every source counts, so there is none to choose.")
    return BayesianPlanner(
        space, objectives, constraints=constraints, seed=seed, warm=warm, initial=initial, device=device
    )


def _import_models() -> None:
    """Import torch and what stands on it; deprecations that they report of each other are not for our users."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        import_module("renkei.planning._search")
        import_module("renkei.planning._surrogate")


def _check_device(device: str) -> None:
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"Option device: found {device!r}, expected 'auto', 'cpu' or 'cuda'.")
    if device == "cuda" and not import_module("torch").cuda.is_available():
        raise UsageError("Option device: found 'cuda', but torch sees no GPU.", "Take 'auto' or 'cpu'.")


def _usual_initial(space: Space) -> int:
    n_parameters = len(space.parameters)
    return min(16, max(5, n_parameters + 2)) if space.pool is None else min(8, max(5, n_parameters))


def _check(objectives: Sequence[Objective], constraints: Sequence[Constraint], initial: int | None) -> None:
    if not objectives:
        raise UsageError("A Bayesian planner needs an objective.")
    for objective in objectives:
        if objective.goal not in ("minimize", "maximize", "target"):
            raise UsageError(f"{objective.output}: no goal is named '{objective.goal}'.")
        if objective.goal == "target" and objective.target is None:
            raise UsageError(f"{objective.output}: a target goal needs its target.")
        if not all(math.isfinite(value) for value in (objective.target, objective.reach) if value is not None):
            raise UsageError(f"{objective.output}: target and reach must be finite numbers.")
    for constraint in constraints:
        if not constraint.lower <= constraint.upper:
            raise UsageError(f"{constraint.output}: a constraint needs lower <= upper.")
    if initial is not None and (type(initial) is not int or initial < 1):
        raise UsageError(f"Option initial: found {initial!r}, expected a whole number of at least 1.")
