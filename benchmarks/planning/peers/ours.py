"""renkei's own planners, through their port."""

from collections.abc import Sequence

from benchmarks.planning.peers import Setting
from benchmarks.planning.problem import Result

from renkei.model.space import Objective, Observation, Point
from renkei.planning import Planner, create

_OUTCOMES = {"observed": "observed", "infeasible": "infeasible", "failed": "abandoned"}


class Ours:
    """A planner of renkei; a trial that failed is told as abandoned."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def ask(self, n: int) -> list[Point]:
        """Return the planner's points."""
        return self._planner.ask(n)

    def tell(self, results: Sequence[Result]) -> None:
        """Hand on every outcome."""
        self._planner.tell(
            [
                Observation(r.point, _OUTCOMES[r.outcome], {"loss": r.seen} if r.outcome == "observed" else {})
                for r in results
            ]
        )


def bayesian(setting: Setting) -> Ours:
    """Return the planner that this is about."""
    return _named("bayesian", setting)


def sobol(setting: Setting) -> Ours:
    """Return a baseline."""
    return _named("sobol", setting)


def random(setting: Setting) -> Ours:
    """Return a baseline."""
    return _named("random", setting)


def _named(name: str, setting: Setting) -> Ours:
    return Ours(create(name, setting.problem.space, [Objective("loss")], seed=setting.seed))
