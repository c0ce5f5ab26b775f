"""NIMO as a planner: the software by which NIMS runs its autonomous laboratories."""

# pyright: basic, reportMissingImports=false

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from renkei.errors import UsageError, did_you_mean
from renkei.model.space import Constraint, Objective, Observation, Point, Space, Value
from renkei.planning.adapters._adapted import AdaptedPlanner, Trial
from renkei.planning.adapters._features import features

_METHODS = ("PHYSBO", "BLOX", "RE")
_MIN_OBSERVED = 3


class NimoPlanner(AdaptedPlanner):
    """Proposes candidates that a method of NIMO selects (Tamura et al. 2023).

    It chooses among listed points: those of a pool, or of a discrete space of up to 10,000 points, which are written
    to NIMO's candidates file with numbers scaled (on their log scale) and choices encoded one-hot. The first points
    are drawn by NIMO's random exploration. Objectives are the losses, to be minimised. NIMO knows no pending and no
    infeasible points: they and abandoned ones are only no candidates any more. Constraints on outputs are refused.

    Args:
        space: What to search; it must be possible to list its points.
        objectives: At least one.
        constraints: None can be told.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters; those outside the space are left out.
        method: PHYSBO (Bayesian optimisation), BLOX (looks for outputs that were not seen yet) or RE (random
            exploration).
        score: Of method PHYSBO: EI, PI or TS with one objective, HVPI, EHVI or TS with several; by default EI or TS.
        initial: Points that are drawn at random before the method is asked.

    Raises:
        UsageError: The space cannot be searched or listed, there are constraints, an option is wrong, or NIMO is not
            installed.
    """

    title = "NIMO"
    extra = "nimo"
    packages = ("nimo", "physbo")
    prints = True
    has_constraints = False
    lists_only = True

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
        method: str = "PHYSBO",
        score: str | None = None,
        initial: int = 10,
    ) -> None:
        super().__init__(space, objectives, constraints, seed, warm)
        if method not in _METHODS:
            raise UsageError(
                f"Planner 'nimo' has no method '{method}'.{did_you_mean(method, _METHODS)}",
                f"Known methods: {', '.join(_METHODS)}.",
            )
        scores = ("EI", "PI", "TS") if len(self.objectives) == 1 else ("HVPI", "EHVI", "TS")
        if score is not None and score not in scores:
            raise UsageError(f"NIMO has no score '{score}' here.", f"Known scores: {', '.join(scores)}.")
        if type(initial) is not int or initial < 1:
            raise UsageError(f"Option initial: found {initial!r}, expected a whole number of at least 1.")
        self._method = method
        self._score = score
        self._initial = initial

    def propose(
        self, n: int, pending: Sequence[Point], left: Sequence[Point], seed: int
    ) -> Sequence[Mapping[str, Value]]:
        """Return the points that NIMO selects from those that are left."""
        import nimo

        observed = [trial for trial in self.history if trial.outcome == "observed"]
        is_early = len(observed) + len(pending) < self._initial or len(observed) < _MIN_OBSERVED
        with TemporaryDirectory(prefix="renkei-nimo-") as folder:
            candidates, proposals = Path(folder, "candidates.csv"), Path(folder, "proposals.csv")
            self._write(candidates, observed, left)
            nimo.selection(
                method="RE" if is_early else self._method,
                input_file=str(candidates),
                output_file=str(proposals),
                num_objectives=len(self.objectives),
                num_proposals=n,
                re_seed=seed,
                physbo_score=self._score,
                minimization=True,
            ).module_selection()
            with proposals.open(newline="") as file:
                actions = [int(row["actions"]) for row in csv.DictReader(file)]
        return [left[action - len(observed)] for action in actions]

    def _write(self, path: Path, observed: Sequence[Trial], left: Sequence[Point]) -> None:
        """Write NIMO's candidates file: columns of features, then of losses, empty where a point was not tried."""
        rows = features(self.space, [*(trial.point for trial in observed), *left]).tolist()
        empty = (math.nan,) * len(self.objectives)
        losses = [*(trial.losses for trial in observed), *[empty] * len(left)]
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*(f"x{i}" for i in range(len(rows[0]))), *(f"y{i}" for i in range(len(empty)))])
            for row, values in zip(rows, losses, strict=True):
                writer.writerow([*row, *("" if math.isnan(value) else value for value in values)])
