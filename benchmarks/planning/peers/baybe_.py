# pyright: basic, reportMissingImports=false
"""BayBE through its Campaign."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from baybe import Campaign
from baybe.parameters import CategoricalParameter, NumericalContinuousParameter, NumericalDiscreteParameter
from baybe.recommenders import BotorchRecommender, TwoPhaseMetaRecommender
from baybe.searchspace import SearchSpace, SubspaceDiscrete
from baybe.targets import NumericalTarget
from benchmarks.planning.peers import Setting
from benchmarks.planning.problem import Result

from renkei.model.space import Choice, Parameter, Point, Real

MOST_COMBINATIONS = 20
"""For each combination of discrete values BayBE optimises the continuous ones: minutes for thousands of them."""


class BaybePeer:
    """One campaign; parameters on a log scale are given as logarithms, choices as one-hot categories.

    BayBE has nothing for trials without a result; rows of a pool without one are taken off the list.
    """

    def __init__(self, setting: Setting) -> None:
        self._parameters = setting.problem.space.parameters
        self._discrete = [p for p in self._parameters if not isinstance(p, Real)]
        self._is_pool = bool(setting.problem.pool)
        target = NumericalTarget(name="loss", minimize=True)
        self._campaign = Campaign(self._searchspace(setting), target.to_objective(), self._recommender())
        self._asked = pd.DataFrame()

    def ask(self, n: int) -> list[Point]:
        """Return the campaign's recommendation."""
        self._asked = self._campaign.recommend(batch_size=n)
        return [self._point(row) for row in self._asked.to_dict("records")]

    def tell(self, results: Sequence[Result]) -> None:
        """Add the measurements that there are."""
        works = np.array([result.outcome == "observed" for result in results])
        measured = self._asked[works].copy()
        if len(measured):
            measured["loss"] = [result.seen for result in results if result.outcome == "observed"]
            self._campaign.add_measurements(measured)

    def _recommender(self) -> TwoPhaseMetaRecommender:
        """Return the default, its search over all combinations of discrete values thinned out where they are many."""
        n = math.prod(len(p.values) if isinstance(p, Choice) else p.high - p.low + 1 for p in self._discrete)
        is_hybrid = 0 < len(self._discrete) < len(self._parameters)
        if self._is_pool or not is_hybrid or n <= MOST_COMBINATIONS:
            return TwoPhaseMetaRecommender()
        thinned = BotorchRecommender(hybrid_sampler="Random", sampling_percentage=MOST_COMBINATIONS / n)
        return TwoPhaseMetaRecommender(recommender=thinned)

    def _searchspace(self, setting: Setting) -> SearchSpace:
        if not self._is_pool:
            return SearchSpace.from_product([_parameter(p) for p in self._parameters])
        table = pd.DataFrame(setting.problem.pool)
        parameters = [
            CategoricalParameter(p.name, values=p.values)
            if isinstance(p, Choice)
            else NumericalDiscreteParameter(p.name, values=sorted(set(table[p.name])))
            for p in self._parameters
        ]
        return SearchSpace(discrete=SubspaceDiscrete.from_dataframe(table, parameters))

    def _point(self, row: dict) -> Point:
        point: Point = {}
        for p in self._parameters:
            value = row[p.name]
            if isinstance(p, Choice):
                point[p.name] = value
            elif isinstance(p, Real):
                value = math.exp(value) if p.log else float(value)
                point[p.name] = min(max(value, p.low), p.high)
            else:
                point[p.name] = round(value)
        return point


def _parameter(p: Parameter):
    if isinstance(p, Choice):
        return CategoricalParameter(p.name, values=p.values)
    if isinstance(p, Real):
        bounds = (math.log(p.low), math.log(p.high)) if p.log else (p.low, p.high)
        return NumericalContinuousParameter(p.name, bounds=bounds)
    return NumericalDiscreteParameter(p.name, values=range(p.low, p.high + 1))
