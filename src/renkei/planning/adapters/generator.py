"""Any planner as a generator of the generator standard (gest-api)."""

# pyright: basic, reportMissingImports=false

import math
from collections.abc import Mapping
from typing import Any

from renkei.errors import UsageError
from renkei.model.space import Observation, Point
from renkei.planning._port import create, require

require("gest_api", extra="gest")
from gest_api import Generator  # noqa: E402 - after the sentence that says what to install
from gest_api.vocs import VOCS  # noqa: E402

from renkei.planning.adapters._vocs import search_of  # noqa: E402


class GestGenerator(Generator):
    """A planner that keeps to the generator standard (gest-api 0.2; CAMPA consortium).

    What was suggested and not yet ingested is pending, and not suggested again. A result without a finite number for
    each objective and constraint counts as infeasible. A bound of the standard is exclusive, a planner's inclusive.

    Args:
        vocs: Variables (continuous, or discrete: a choice without an order), objectives (MINIMIZE, MAXIMIZE),
            constraints, constants (handed through) and observables (not looked at).
        planner: The planner's name.
        seed: Same seed and results, same points.
        options: The planner's own settings.

    Raises:
        ValueError: The planner cannot search this.
    """

    returns_id = True

    def __init__(
        self, vocs: VOCS, planner: str = "bayesian", *, seed: int = 0, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(vocs)
        space, objectives, constraints = search_of(vocs)
        try:
            self._planner = create(planner, space, objectives, constraints=constraints, seed=seed, options=options)
        except UsageError as error:
            raise ValueError(str(error)) from error
        self._space = space
        self._constants = {name: constant.value for name, constant in vocs.constants.items()}
        self._outputs = [*vocs.objective_names, *vocs.constraint_names]
        self._pending: dict[int, Point] = {}
        self._n_suggested = 0

    def _validate_vocs(self, vocs: VOCS) -> None:
        """Refuse what a planner knows nothing of.

        Raises:
            ValueError: There is such.
        """
        search_of(vocs)
        if not vocs.objectives:
            raise ValueError("a planner needs an objective")

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Return `num_points` points, or one, each with its constants and its `_id`.

        Raises:
            ValueError: Fewer points are left.
        """
        wanted = 1 if num_points is None else num_points
        if wanted < 1:
            raise ValueError(f"at least one point can be suggested, found {num_points}")
        points = self._planner.ask(wanted, list(self._pending.values()))
        if len(points) < wanted and num_points is not None:
            raise ValueError(f"{len(points)} of {num_points} points are left")
        found: list[dict[str, Any]] = []
        for point in points:
            self._pending[self._n_suggested] = point
            found.append({**point, **self._constants, "_id": self._n_suggested})
            self._n_suggested += 1
        return found

    def ingest(self, results: list[dict[str, Any]]) -> None:
        """Tell the planner results: of points that were suggested, with their `_id`, and of others, without.

        Raises:
            ValueError: An `_id` is not known, or a result lacks a variable or an output; then none is taken.
        """
        ids = [result["_id"] for result in results if "_id" in result]
        if unknown := [each for at, each in enumerate(ids) if each not in self._pending or each in ids[:at]]:
            raise ValueError(f"no point is waited for that has the _id {unknown[0]!r}")
        try:
            self._planner.tell([self._observation(result) for result in results])
        except UsageError as error:
            raise ValueError(str(error)) from error
        for each in ids:
            del self._pending[each]

    def _observation(self, result: Mapping[str, Any]) -> Observation:
        if missing := [name for name in (*self._space.names, *self._outputs) if name not in result]:
            raise ValueError(f"a result lacks {', '.join(missing)}")
        if "_id" in result:
            point = self._pending[result["_id"]]
        else:
            point = {name: result[name] for name in self._space.names}
            if problems := self._space.problems(point):
                raise ValueError(f"a result is of no point of the space: {'; '.join(problems)}")
        outputs = {name: float(result[name]) for name in self._outputs}
        outcome = "observed" if all(map(math.isfinite, outputs.values())) else "infeasible"
        return Observation(point, outcome, outputs if outcome == "observed" else {})
