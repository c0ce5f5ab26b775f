# pyright: basic, reportMissingImports=false
"""Nevergrad through ask and tell."""

from collections.abc import Sequence

import nevergrad as ng
import numpy as np
from benchmarks.planning.peers import Setting
from benchmarks.planning.peers._nearest import Nearest
from benchmarks.planning.problem import Result
from nevergrad.optimization import metamodel

from renkei.model.space import Choice, Parameter, Point, Real

# Nevergrad 1.0.12 makes numbers of arrays with one element, which NumPy 2.4 no longer does by itself.
metamodel.float = lambda array: np.asarray(array).item()


class NevergradPeer:
    """NGOpt, which chooses among Nevergrad's optimisers.

    Some of them wait for the losses of exactly the points that they asked for. So the loss of a pool's row is told as
    that of the point that was moved to it, and trials that failed or are infeasible as the worst loss that was seen.
    """

    def __init__(self, setting: Setting) -> None:
        space = ng.p.Dict(**{p.name: _parametrisation(p) for p in setting.problem.space.parameters})
        space.random_state.seed(setting.seed)
        self._optimizer = ng.optimizers.NGOpt(space, budget=setting.n_evaluations, num_workers=setting.batch)
        self._nearest = Nearest(setting.problem)
        self._asked: list[ng.p.Parameter] = []
        self._seen: list[float] = []

    def ask(self, n: int) -> list[Point]:
        """Return the values of `n` candidates."""
        self._asked = [self._optimizer.ask() for _ in range(n)]
        points = [{name: _plain(value) for name, value in candidate.value.items()} for candidate in self._asked]
        return [self._nearest.take(point) for point in points] if self._nearest else points

    def tell(self, results: Sequence[Result]) -> None:
        """Tell the losses."""
        self._seen += [result.seen for result in results if result.outcome == "observed"]
        worst = max(self._seen, default=0.0)
        for candidate, result in zip(self._asked, results, strict=True):
            self._optimizer.tell(candidate, result.seen if result.outcome == "observed" else worst)


def _plain(value):
    return value.item() if hasattr(value, "item") else value


def _parametrisation(parameter: Parameter) -> ng.p.Parameter:
    if isinstance(parameter, Choice):
        return ng.p.Choice(list(parameter.values))
    if parameter.log:
        found = ng.p.Log(lower=parameter.low, upper=parameter.high)
    else:
        found = ng.p.Scalar(lower=parameter.low, upper=parameter.high)
    return found if isinstance(parameter, Real) else found.set_integer_casting()
