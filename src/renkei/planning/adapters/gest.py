"""Any generator of the generator standard (gest-api) as a planner."""

# pyright: basic, reportMissingImports=false

import inspect
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from renkei.errors import UsageError
from renkei.model.space import Constraint, Objective, Observation, Point, Space, Value
from renkei.planning._design import derived_seed
from renkei.planning.adapters._adapted import FAULTS, AdaptedPlanner
from renkei.planning.adapters._surroundings import surroundings
from renkei.planning.adapters._vocs import Translation


class GestPlanner(AdaptedPlanner):
    """Proposes what a generator suggests that keeps to the generator standard (gest-api 0.2; CAMPA consortium).

    Each `ask` makes a new generator, has it ingest every observed trial and suggest points. The standard knows neither
    pending points nor trials that gave nothing. So the generator is asked for as many points more as are pending, and
    those that are pending, or were tried already, are left out. It is pure in (history, seed) where the generator
    draws its random numbers from an argument `seed`, or from `random`, numpy or torch.

    The standard knows no log scales (the generator is given the decimal logarithm), no pools (the pool's point nearest
    to the suggestion is tried, of those that are left) and no constraints between parameters (listed points satisfy
    them, other spaces with such constraints are refused).

    Args:
        space: What to search.
        objectives: At least one.
        constraints: What outputs must satisfy.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters; those outside the space are left out.
        generator: The generator's class, "module:Class".
        arguments: Further arguments of the class; an argument `seed` is given if it has one.

    Raises:
        UsageError: The space cannot be searched, the class cannot be imported or made or does not take such a problem,
            or gest-api is not installed.
    """

    title = "The generator"
    extra = "gest"
    packages = ("gest_api",)

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
        generator: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if not generator or generator.count(":") != 1:
            raise UsageError(f"Option generator: found {generator!r}, expected 'module:Class'.")
        super().__init__(space, objectives, constraints, seed, warm)
        self._class = _imported(generator)
        self._arguments = dict(arguments or {})
        try:
            self._translation = Translation(space, self.objectives, self.constraints)
            with surroundings(self.packages, seed):
                self._made(seed).finalize()
        except (*FAULTS, TypeError) as error:
            raise UsageError(f"Generator {generator} cannot be used here: {error}.", "") from error

    def propose(
        self, n: int, pending: Sequence[Point], left: Sequence[Point], seed: int
    ) -> Sequence[Mapping[str, Value]]:
        """Return `n` suggestions that are neither tried nor pending, or as many as the generator has."""
        # Not `seed`, which depends on how many are pending: the generator is to suggest these first, once more.
        fixed = derived_seed(self.seed, "gest", len(self.history))
        with surroundings(self.packages, fixed):
            generator = self._made(fixed)
            try:
                generator.ingest(
                    [self._translation.result(t.point, t.losses, t.bounded) for t in self.history if t.losses]
                )
                tried = [trial.point for trial in self.history]
                found: list[Point] = []
                for suggestion in _suggestions(generator, n + len(pending)):
                    point = self._translation.point(suggestion)
                    if point not in pending and point not in tried and point not in found:
                        found.append(point)
                return found[:n]
            finally:
                generator.finalize()

    def _made(self, seed: int) -> Any:
        has_seed = "seed" in inspect.signature(self._class).parameters
        return self._class(self._translation.vocs, **({"seed": seed} if has_seed else {}) | self._arguments)


def _suggestions(generator: Any, n: int) -> Iterator[Mapping[str, Any]]:
    """Yield `n` suggestions or, from a generator that has its own idea of how many there are, as many as it likes."""
    try:
        suggested = generator.suggest(n)
    except ValueError:  # what the standard says of a number that cannot be had
        suggested = generator.suggest(None)
    yield from suggested


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"Generator {name} cannot be imported: {error}.", "Is it installed?") from error
