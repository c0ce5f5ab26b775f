"""PHYSBO as a planner: Bayesian optimisation over listed candidates, of the University of Tokyo and NIMS."""

# pyright: basic, reportMissingImports=false

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from renkei.errors import UsageError
from renkei.model.space import Constraint, Objective, Observation, Point, Space, Value
from renkei.planning.adapters._adapted import AdaptedPlanner
from renkei.planning.adapters._features import features

_SCORES = ("EI", "PI", "TS"), ("HVPI", "EHVI", "TS")
"""What candidates are compared by, the default first: with one objective, with several."""

_MIN_OBSERVED = 2
"""A Gaussian process is fitted from so many observed trials on."""


class PhysboPlanner(AdaptedPlanner):
    """Proposes candidates that PHYSBO finds best (Motoyama et al. 2022).

    It chooses among listed points: those of a pool, or of a discrete space of up to 10,000 points. Numbers are scaled
    (on their log scale), choices are encoded one-hot, and all columns centred, as PHYSBO asks. The first points are
    drawn at random. What is maximised is each objective's loss with its sign turned. A pending point counts as observed
    with the value that the model expects of it. PHYSBO knows no infeasible points: they and abandoned ones are only no
    candidates any more. Constraints on outputs are refused.

    Args:
        space: What to search; it must be possible to list its points.
        objectives: At least one.
        constraints: None can be told.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters; those outside the space are left out.
        score: EI (expected improvement), PI (probability of improvement) or TS (Thompson sampling); with several
            objectives HVPI (probability of hypervolume improvement), EHVI (expected hypervolume improvement) or TS.
        initial: Points that are drawn at random before PHYSBO is asked.
        n_basis: Random features that stand for the Gaussian process (quicker beyond hundreds of trials); 0 for none.

    Raises:
        UsageError: The space cannot be searched or listed, there are constraints, an option is wrong, or PHYSBO is not
            installed.
    """

    title = "PHYSBO"
    extra = "physbo"
    packages = ("physbo",)
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
        score: str | None = None,
        initial: int = 10,
        n_basis: int = 0,
    ) -> None:
        super().__init__(space, objectives, constraints, seed, warm)
        scores = _SCORES[len(self.objectives) > 1]
        if score is not None and score not in scores:
            raise UsageError(f"PHYSBO has no score '{score}' here.", f"Known scores: {', '.join(scores)}.")
        if type(initial) is not int or initial < 1 or type(n_basis) is not int or n_basis < 0:
            raise UsageError("Options initial and n_basis are whole numbers, initial at least 1, n_basis at least 0.")
        self._score = score or scores[0]
        self._initial = initial
        self._n_basis = n_basis

    def propose(
        self, n: int, pending: Sequence[Point], left: Sequence[Point], seed: int
    ) -> Sequence[Mapping[str, Value]]:
        """Return the best of the points that are left; none before the initial points are there."""
        observed = [trial for trial in self.history if trial.outcome == "observed"]
        if len(observed) + len(pending) < self._initial or len(observed) < _MIN_OBSERVED:
            return ()
        import physbo

        points = [*(trial.point for trial in observed), *pending, *left]
        candidates = physbo.misc.centering(features(self.space, points))
        values = -np.array([trial.losses for trial in observed])
        several = len(self.objectives) > 1
        module = physbo.search.discrete_multi if several else physbo.search.discrete
        told = np.arange(len(observed)), values if several else values[:, 0]
        policy = module.Policy(candidates, *([len(self.objectives)] if several else []), initial_data=told)
        options: dict[str, Any] = {"score": self._score, "num_rand_basis": self._n_basis, "is_disp": False}
        if pending:
            policy.bayes_search(max_num_probes=0, **options)  # fits the model
            waiting = np.arange(len(observed), len(observed) + len(pending))
            policy.write(waiting, policy.get_post_fmean(candidates[waiting]))
            fitted = {"predictor_list": policy.predictor_list} if several else {"predictor": policy.predictor}
            options |= fitted | {"interval": -1}  # keeps the model's hyperparameters
        actions = policy.bayes_search(max_num_probes=1, num_search_each_probe=n, simulator=None, **options)
        return [points[action] for action in actions]
