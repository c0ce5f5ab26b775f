# pyright: basic, reportMissingImports=false
"""Ax through its Client."""

import logging
from collections.abc import Sequence

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from benchmarks.planning.peers import Setting
from benchmarks.planning.peers._nearest import Nearest
from benchmarks.planning.problem import Result

from renkei.model.space import Choice, Parameter, Point, Real


class AxPeer:
    """One experiment; trials that failed or are infeasible are marked as failed."""

    def __init__(self, setting: Setting) -> None:
        logging.getLogger("ax").setLevel(logging.ERROR)
        self._client = Client(random_seed=setting.seed)
        self._client.configure_experiment(parameters=[_config(p) for p in setting.problem.space.parameters])
        self._client.configure_optimization(objective="-loss")
        self._nearest = Nearest(setting.problem)
        self._asked: list[int] = []

    def ask(self, n: int) -> list[Point]:
        """Return the parameters of up to `n` running trials."""
        found = {index: dict(point) for index, point in self._client.get_next_trials(max_trials=n).items()}
        if self._nearest:
            for index in found:
                self._client.mark_trial_failed(index)  # neither counts nor is waited for
            rows = [self._nearest.take(point) for point in found.values()]
            found = {self._client.attach_trial(row): row for row in rows}
        self._asked = list(found)
        return list(found.values())

    def tell(self, results: Sequence[Result]) -> None:
        """End the running trials."""
        for index, result in zip(self._asked, results, strict=True):
            if result.outcome == "observed":
                self._client.complete_trial(index, raw_data={"loss": result.seen})
            else:
                self._client.mark_trial_failed(index)


def _config(parameter: Parameter) -> ChoiceParameterConfig | RangeParameterConfig:
    if isinstance(parameter, Choice):
        return ChoiceParameterConfig(
            name=parameter.name, values=[str(v) for v in parameter.values], parameter_type="str", is_ordered=False
        )
    return RangeParameterConfig(
        name=parameter.name,
        bounds=(parameter.low, parameter.high),
        parameter_type="float" if isinstance(parameter, Real) else "int",
        scaling="log" if parameter.log else None,
    )
