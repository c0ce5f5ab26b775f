"""Generators of the gest standard, as others write them; gest-api must be installed."""

# pyright: basic, reportMissingImports=false

import random

from gest_api import Generator
from gest_api.vocs import DiscreteVariable


class Climber(Generator):
    """Suggests points near the best of the first objective, with random numbers of the module `random`."""

    finalized = 0

    def __init__(self, vocs, spread: float = 0.1):
        super().__init__(vocs)
        self.vocs = vocs
        self.spread = spread
        self.results: list[dict] = []

    def _validate_vocs(self, vocs):
        if not vocs.objectives:
            raise ValueError("nothing to climb")

    def suggest(self, num_points=None):
        return [self._near(self._best()) for _ in range(num_points or 1)]

    def ingest(self, results):
        for result in results:
            if missing := [name for name in self.vocs.all_names if name not in result]:
                raise ValueError(f"missing: {missing}")
        self.results += results

    def finalize(self):
        Climber.finalized += 1

    def _best(self):
        sign = 1 if type(next(iter(self.vocs.objectives.values()))).__name__ == "MinimizeObjective" else -1
        name = self.vocs.objective_names[0]
        return min(self.results, key=lambda result: sign * result[name], default=None)

    def _near(self, best):
        point = {name: constant.value for name, constant in self.vocs.constants.items()}
        for name, variable in self.vocs.variables.items():
            if isinstance(variable, DiscreteVariable):
                stays = best is not None and random.random() < 0.7
                point[name] = best[name] if stays else random.choice(sorted(variable.values, key=repr))
            else:
                low, high = variable.domain
                middle = random.uniform(low, high) if best is None else best[name]
                point[name] = min(high, max(low, random.gauss(middle, self.spread * (high - low))))
        return point


class Single(Climber):
    """Suggests one point at a time, and says so as the standard wants it."""

    def suggest(self, num_points=None):
        if num_points not in (None, 1):
            raise ValueError("one at a time")
        return super().suggest(1)


class Picky(Climber):
    """Takes no constraints."""

    def _validate_vocs(self, vocs):
        if vocs.constraints:
            raise ValueError("Picky cannot accept constraints")
