"""What adapters have in common: what was told, which points are left, and what a proposal of others is worth."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from renkei.errors import UsageError
from renkei.model.space import Constraint, Objective, Observation, Point, Space, Value
from renkei.planning._codec import Codec, Key
from renkei.planning._design import derived_seed
from renkei.planning._port import require
from renkei.planning.random import RandomPlanner

_log = logging.getLogger(__name__)

_MAX_LISTED = 10_000
"""Discrete spaces of at most so many points are listed, like a pool."""

_OUTCOMES = ("observed", "infeasible", "abandoned")

FAULTS = (ArithmeticError, AssertionError, LookupError, RuntimeError, ValueError)
"""What packages of others raise where a history is more than their numbers can bear."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One ended trial as others can be told of it.

    Args:
        point: A point of the space.
        outcome: "observed" (then every loss and bounded output is there and finite), "infeasible" or "abandoned".
        losses: What is minimised, one number an objective: `Objective.loss`; empty unless observed.
        bounded: The outputs that have constraints, in the constraints' order; empty unless observed.
        noise: Standard deviations of `losses` and `bounded` together; NaN where unknown.
    """

    point: Point
    outcome: str
    losses: tuple[float, ...] = ()
    bounded: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()


class AdaptedPlanner(ABC):
    """A planner that asks a package of others.

    The package is given the whole history anew for each `ask`, so that the history and the seed are all that counts. A
    trial that was observed with an output missing or not finite counts as infeasible. Where all that is left of a pool
    or of a discrete space is asked for, nobody is asked. In place of a proposal that is told or pending already, or
    that is not of the pool, comes the nearest listed point that is left, or a random one where points cannot be listed;
    in place of a proposal that a package failed to make, a random one, and a warning is logged.

    Args:
        space: What to search.
        objectives: At least one.
        constraints: What outputs must satisfy.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters; those outside the space are left out.

    Raises:
        UsageError: The space cannot be searched, an objective is wrong, or the package is not installed, or it has
            nothing for several objectives, for constraints or for a space that cannot be listed.
    """

    title: ClassVar[str]
    """What people call the package."""
    extra: ClassVar[str]
    """The extra of renkei that brings the package."""
    packages: ClassVar[tuple[str, ...]]
    """What is imported."""
    prints: ClassVar[bool] = False
    """Whether the package prints on standard output."""
    has_constraints: ClassVar[bool] = True
    """Whether constraints on outputs can be told."""
    has_several_objectives: ClassVar[bool] = True
    """Whether there can be several objectives."""
    has_parameter_constraints: ClassVar[bool] = False
    """Whether constraints between parameters can be told; listed points need none."""
    lists_only: ClassVar[bool] = False
    """Whether it chooses among listed points only."""

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        seed: int,
        warm: Sequence[Observation],
    ) -> None:
        require("numpy", *self.packages, extra=self.extra)
        self.space = space
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.seed = seed
        self._codec = Codec(space)
        self._check()
        self._design = RandomPlanner(space, objectives, constraints=constraints, seed=derived_seed(seed, "adapter"))
        self._is_listed = space.pool is not None or self._codec.n_holding(_MAX_LISTED) <= _MAX_LISTED
        self._listed: dict[Key, Point] | None = None
        if self.lists_only and not self.is_listed:
            raise UsageError(
                f"{self.title} chooses among listed points, and this space has too many to list.",
                f"Give the space a pool, or whole numbers and choices of at most {_MAX_LISTED:,} points.",
            )
        if space.constraints and not self.is_listed and not self.has_parameter_constraints:
            raise UsageError(
                f"{self.title} knows no constraints between parameters.",
                "Take planner 'bayesian', or give the space a pool.",
            )
        self.history = self._trials(warm)
        self._n_told = 0
        self._taken: set[Key] = set()

    @property
    def is_listed(self) -> bool:
        """Whether every point of the space can be listed."""
        return self._is_listed

    def tell(self, observations: Sequence[Observation]) -> None:
        """Learn from ended trials: from all of them or, where one cannot be used, from none.

        Raises:
            UsageError: A point lacks a parameter or has an unknown choice, or an outcome is not known.
        """
        if unknown := [o.outcome for o in observations if o.outcome not in _OUTCOMES]:
            raise UsageError(
                f"A planner does not know the outcome '{unknown[0]}'.", f"Known outcomes: {', '.join(_OUTCOMES)}."
            )
        keys = [self._codec.key(o.point) for o in observations]
        self.history += self._trials(observations)
        self._taken.update(keys)
        self._n_told += len(keys)
        self._design.tell(observations)

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return `n` points; fewer, or none, when every point of a discrete space or pool is told or pending."""
        taken = self._taken | {self._codec.key(point) for point in pending}
        left = [key for key in self.listing() if key not in taken] if self.is_listed else None
        if left is not None and len(left) <= n:
            return [dict(self.listing()[key]) for key in left]
        found: list[Point] = []
        for proposal in self._proposals(n, pending, [self.listing()[key] for key in left or ()]):
            if (point := self._new(proposal, taken, [*pending, *found])) is None:
                break
            taken.add(self._codec.key(point))
            found.append(point)
        return found

    @abstractmethod
    def propose(
        self, n: int, pending: Sequence[Point], left: Sequence[Point], seed: int
    ) -> Sequence[Mapping[str, Value]]:
        """Return what the package proposes, `n` points or fewer; others are put in place of those that cannot be.

        Args:
            n: How many, at least 1.
            pending: Points on their way, in the order of their proposal.
            left: Where points are listed, those neither told nor pending, more than `n`.
            seed: Depends on the planner's seed and on how many points are told and pending.

        Raises:
            Exception: One of `FAULTS`, if the package fails.
        """

    def listing(self) -> Mapping[Key, Point]:
        """Return the listed points, each once; none where they cannot be listed."""
        if self._listed is None:
            every = self._codec.every_point() if self.space.pool is None else self.space.pool
            self._listed = {self._codec.key(p): p for p in every if self._codec.holds(p)} if self.is_listed else {}
        return self._listed

    def _proposals(self, n: int, pending: Sequence[Point], left: Sequence[Point]) -> list[Mapping[str, Value] | None]:
        from renkei.planning.adapters._surroundings import surroundings

        index = self._n_told + len(pending)
        seed = derived_seed(self.seed, self.extra, index)
        proposals: list[Mapping[str, Value] | None] = []
        try:
            with surroundings(self.packages, seed, muted=self.prints):
                proposals += self.propose(n, pending, left, seed)
        except FAULTS as error:
            _log.warning("%s proposed nothing at trial %d, a random point instead: %s", self.title, index, error)
        return [*proposals[:n], *[None] * (n - len(proposals))]

    def _new(self, proposal: Mapping[str, Value] | None, taken: set[Key], pending: list[Point]) -> Point | None:
        """Return `proposal` if it is a point that is left, or what comes in its place."""
        point = None if proposal is None else {name: proposal[name] for name in self.space.names}
        if self.is_listed:
            key = None if point is None else self._codec.key(point)
            if key is not None and key in self.listing() and key not in taken:
                return dict(self.listing()[key])
            left = [p for key, p in self.listing().items() if key not in taken]
            place = (
                derived_seed(self.seed, "any", len(taken)) % len(left) if point is None else self._nearest(point, left)
            )
            return dict(left[place])
        if point is not None and self._codec.key(point) not in taken and not self.space.problems(point):
            return point
        return next((p for p in self._design.ask(1, pending) if self._codec.key(p) not in taken), None)

    def _nearest(self, point: Point, left: Sequence[Point]) -> int:
        from renkei.planning.adapters._features import features, nearest

        return nearest(features(self.space, left), features(self.space, [point])[0])

    def _trials(self, observations: Sequence[Observation]) -> list[Trial]:
        """Return trials in their order, without those that lie outside the space.

        Raises:
            UsageError: A point lacks a parameter or has an unknown choice.
        """
        for observation in observations:
            self._codec.key(observation.point)
        points = [{name: o.point[name] for name in self.space.names} for o in observations]
        told = zip(points, observations, strict=True)
        return [self._trial(point, o) for point, o in told if not self.space.problems(point)]

    def _trial(self, point: Point, observation: Observation) -> Trial:
        if observation.outcome != "observed":
            return Trial(point, observation.outcome)
        outputs = observation.outputs
        names = [o.output for o in self.objectives], [c.output for c in self.constraints]
        if not all(math.isfinite(outputs.get(name, math.nan)) for name in (*names[0], *names[1])):
            return Trial(point, "infeasible")
        return Trial(
            point,
            "observed",
            tuple(o.loss(outputs[o.output]) for o in self.objectives),
            tuple(outputs[name] for name in names[1]),
            tuple(observation.noise.get(name, math.nan) for name in (*names[0], *names[1])),
        )

    def _check(self) -> None:
        if not self.objectives:
            raise UsageError("A planner needs an objective.")
        for objective in self.objectives:
            if objective.goal not in ("minimize", "maximize", "target"):
                raise UsageError(f"{objective.output}: no goal is named '{objective.goal}'.")
            if objective.goal == "target" and objective.target is None:
                raise UsageError(f"{objective.output}: a target goal needs its target.")
        if len(self.objectives) > 1 and not self.has_several_objectives:
            raise UsageError(f"{self.title} takes one objective only.", "Take planner 'bayesian'.")
        if self.constraints and not self.has_constraints:
            raise UsageError(f"{self.title} knows no constraints on outputs.", "Take planner 'bayesian'.")
