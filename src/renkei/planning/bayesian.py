"""Bayesian optimisation with BoTorch; torch is imported when a point is first asked for that needs a model."""

import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from renkei.errors import UsageError
from renkei.model.space import Constraint, Objective, Observation, Point, Space
from renkei.planning._codec import Codec, Key
from renkei.planning._design import derived_seed
from renkei.planning._history import History
from renkei.planning._port import require
from renkei.planning._rows import RowCodec, Rows
from renkei.planning.sobol import sobol_design

if TYPE_CHECKING:
    from renkei.planning._search import Search
    from renkei.planning._surrogate import Surrogate

_log = logging.getLogger(__name__)

_MIN_WORKING = 3
"""No model is asked before so many trials, earlier campaigns included, gave every output."""

_MAX_LISTED = 10_000
"""Discrete spaces of at most so many points are compared point by point, like a pool."""

_MAX_ABANDONED = 32
"""Of the abandoned points only the last are kept in mind by the acquisition."""

_OUTCOMES = ("observed", "infeasible", "abandoned")


class BayesianPlanner:
    """Proposes points where a model of what was observed expects the largest improvement.

    The first points are a Sobol design. Then each output has a Gaussian process (Matern-5/2, one lengthscale a
    parameter, noise learned or as observed), fitted to its standardised values, and points come one after another from
    the acquisition: the noisy expected improvement for one objective, the noisy expected hypervolume improvement for
    several (qLogNEI and qLogNEHVI; Ament et al. 2023), restricted to where constraints are likely to hold. Objectives
    with a target take the distance after the model, so the model stays smooth.

    A trial that was infeasible gets no value; a further process learns from all trials where points work, and its
    probability is a factor of the acquisition. A trial that was observed with an output missing or not finite counts as
    infeasible. An abandoned one is treated as if it were still on its way.

    A point that is told or pending is not proposed again. `ask(n)` gives the points of n calls of `ask(1)`, each with
    the former ones pending. Where a fit fails numerically a Sobol point is proposed and a warning logged.

    Args:
        space: What to search. Every point of a pool is compared; so is every point of a discrete space of up to
            10,000 points.
        objectives: At least one.
        constraints: What outputs must satisfy.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters: the model learns from them, and each that gave
            every output saves a point of the initial design. They do not count as trials and may be proposed again.
        initial: Points of the initial design; by default two more than there are parameters, at least 5, at most 16.

    Raises:
        UsageError: The space cannot be searched, an objective or option is wrong, or BoTorch is not installed.
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
    ) -> None:
        require("botorch", "torch", "scipy")
        _check(objectives, initial)
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
        self._listed: tuple[list[Point], list[Key], Rows] | None = None
        self._fitted: Surrogate | None = None
        self._keys(warm)
        for observation in warm:
            if observation.outcome != "abandoned":
                self._history.add(observation)
        wanted = min(16, max(5, len(space.parameters) + 2)) if initial is None else initial
        self._n_initial = max(0, wanted - self._history.n_works)

    def tell(self, observations: Sequence[Observation]) -> None:
        """Learn from ended trials: from all of them or, where one cannot be used, from none.

        Raises:
            UsageError: A point lacks a parameter or has an unknown choice, or an outcome is not known.
        """
        for key, observation in zip(self._keys(observations), observations, strict=True):
            self._history.add(observation)
            self._taken[key] = self._rows.row(observation.point)
        self._design.tell(observations)
        self._n_told += len(observations)
        self._fitted = None

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
        return [self._codec.key(observation.point) for observation in observations]

    def _next(self, pending: list[Point]) -> Point | None:
        index = self._n_told + len(pending)
        if index >= self._n_initial and self._history.n_works >= _MIN_WORKING:
            return self._modelled(pending, derived_seed(self._seed, "ask", index))
        return next(iter(self._design.ask(1, pending)), None)

    def _modelled(self, pending: list[Point], seed: int) -> Point | None:
        """Return the point where the acquisition is largest; the design's if the models fail."""
        _import_models()
        from renkei.planning._surrogate import NUMERICAL_FAULTS, alone

        waiting = {self._codec.key(point): self._rows.row(point) for point in pending}
        try:
            with alone(seed):
                point = self._best_listed(waiting, seed) if self._is_listed else self._best_anywhere(waiting, seed)
        except NUMERICAL_FAULTS as error:
            _log.warning("No model at trial %d, a Sobol point instead: %s", self._n_told + len(pending), error)
            point = None
        return point if point is not None else next(iter(self._design.ask(1, pending)), None)

    def _best_listed(self, waiting: dict[Key, list[float]], seed: int) -> Point | None:
        points, keys, rows = self._listing()
        left = [at for at, key in enumerate(keys) if key not in self._taken and key not in waiting]
        if len(left) < 2:
            return dict(points[left[0]]) if left else None
        values = self._search(waiting, seed).values(rows[left])
        return dict(points[left[int(values.argmax())]])

    def _best_anywhere(self, waiting: dict[Key, list[float]], seed: int) -> Point | None:
        taken = self._rows.stacked([*self._taken.values(), *waiting.values()])
        best_rows = self._surrogate().best_rows
        row = self._search(waiting, seed).best_row(self._rows, best_rows, taken, derived_seed(seed, "rows"))
        return None if row is None else self._rows.points(row[np.newaxis])[0]

    def _search(self, waiting: dict[Key, list[float]], seed: int) -> "Search":
        from renkei.planning._search import Search

        surrogate = self._surrogate()
        busy = [*self._history.abandoned(_MAX_ABANDONED).tolist(), *waiting.values()]
        acquisition = surrogate.acquisition(self._rows.stacked(busy), derived_seed(seed, "samples"))
        return Search(acquisition, surrogate.n_rows * (len(busy) + 16), len(self._objectives))

    def _surrogate(self) -> "Surrogate":
        from renkei.planning._surrogate import Surrogate

        if self._fitted is None:
            self._fitted = Surrogate(self._history, self._objectives, self._constraints)
        return self._fitted

    @property
    def _is_listed(self) -> bool:
        if self._space.pool is not None:
            return True
        n_points = self._codec.n_points()
        return n_points is not None and n_points <= _MAX_LISTED

    def _listing(self) -> tuple[list[Point], list[Key], Rows]:
        """Return the distinct points that are compared one by one, their keys and their rows."""
        if self._listed is None:
            every = self._codec.every_point() if self._space.pool is None else iter(self._space.pool)
            distinct = {self._codec.key(point): point for point in every}
            points = list(distinct.values())
            self._listed = points, list(distinct), self._rows.rows(points)
        return self._listed


def _import_models() -> None:
    """Import torch and what stands on it; deprecations that they report of each other are not for our users."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        import_module("renkei.planning._search")
        import_module("renkei.planning._surrogate")


def _check(objectives: Sequence[Objective], initial: int | None) -> None:
    if not objectives:
        raise UsageError("A Bayesian planner needs an objective.")
    for objective in objectives:
        if objective.goal not in ("minimize", "maximize", "target"):
            raise UsageError(f"{objective.output}: no goal is named '{objective.goal}'.")
        if objective.goal == "target" and objective.target is None:
            raise UsageError(f"{objective.output}: a target goal needs its target.")
    if initial is not None and (type(initial) is not int or initial < 1):
        raise UsageError(f"Option initial: found {initial!r}, expected a whole number of at least 1.")
