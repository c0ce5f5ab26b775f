"""What a history says about points that were not tried: models of outputs and feasibility, and the acquisition."""

# pyright: basic, reportPrivateImportUsage=false
# torch and botorch ship no complete types.

import contextlib
import threading
import warnings
from collections.abc import Iterator, Sequence

import botorch.acquisition.multi_objective.logei as multi_objective_logei
import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.acquisition.multi_objective.utils import get_default_partitioning_alpha
from botorch.acquisition.objective import GenericMCObjective
from botorch.exceptions.errors import BotorchError
from botorch.models import ModelListGP, SingleTaskGP
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from renkei.model.space import Constraint, Objective
from renkei.planning._feasibility import Feasibility, fit_feasibility
from renkei.planning._goals import Goals
from renkei.planning._gp import fit
from renkei.planning._history import History, Scale
from renkei.planning._rows import Rows

MAX_ROWS = 1000
"""Models keep at most so many trials: the best half of so many, the rest evenly spread over the history."""

NUMERICAL_FAULTS = (RuntimeError, ValueError, ArithmeticError, BotorchError)
"""What torch, botorch and linear_operator raise when numbers go wrong."""

_TURN = threading.RLock()

_MAX_BASELINE = 64
"""The best trials stand for all of them where the acquisition asks what is best already."""

_MAX_PENDING = 32
"""More pending points than this are not sampled jointly: the model believes its own mean at the older ones."""

_N_SAMPLES_ONE = 128
_N_SAMPLES_SEVERAL = 64
"""Quasi-random samples of the outputs, for one objective and for several."""


class Surrogate:
    """Models fitted to a history; depends on the history alone.

    Args:
        history: What was told.
        objectives: At least one.
        constraints: What outputs must satisfy.

    Attributes:
        best_rows: The best trials, best first, n x n_columns.
        n_rows: Trials that the models keep.

    Raises:
        ValueError: No trial gave every output, or a fit did not converge.
    """

    def __init__(self, history: History, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> None:
        rows, works = history.rows(), history.works()
        if not works.any():
            raise ValueError("no trial gave every output")
        targets = {o.output for o in objectives if o.goal == "target"}
        values = {name: history.values(name) for name in history.outputs}
        scales = {name: Scale.fit(v[np.isfinite(v)], may_log=name not in targets) for name, v in values.items()}
        scaled = np.column_stack([scales[name].scaled(v) for name, v in values.items()])

        self._goals = Goals(objectives, constraints, scales)
        order = np.flatnonzero(works)[self._goals.ranking(scaled[works])]
        kept = _kept(order, len(rows))
        self.best_rows = rows[order[:_MAX_BASELINE]]
        self.n_rows = len(kept)
        self._reference = self._goals.reference(scaled[works])

        owner = torch.from_numpy(history.codec.owner)
        models: list[SingleTaskGP] = []
        for place, (name, scale) in enumerate(scales.items()):
            known = kept[np.isfinite(scaled[kept, place])]
            noise = scale.noise(values[name][known], history.noise(name)[known])
            variance = None if np.isnan(noise).any() else torch.from_numpy(noise**2)
            models.append(fit(torch.from_numpy(rows[known]), torch.from_numpy(scaled[known, place]), variance, owner))
        self._model = models[0] if len(models) == 1 else ModelListGP(*models)
        self._feasibility: Feasibility | None = None
        if not works[kept].all():
            self._feasibility = fit_feasibility(torch.from_numpy(rows[kept]), torch.from_numpy(works[kept]), owner)

    def acquisition(self, pending: Rows, seed: int) -> AcquisitionFunction:
        """Return what to maximise, the logarithm of the expected improvement: n x 1 x n_columns to n.

        Args:
            pending: Points on their way, n_pending x n_columns.
            seed: Of the quasi-random samples.
        """
        model, baseline = self._model, torch.from_numpy(self.best_rows)
        if len(pending) > _MAX_PENDING:
            believed = torch.from_numpy(pending[:-_MAX_PENDING])
            model, baseline = _believing(model, believed), torch.cat([baseline, believed])
        waiting = torch.from_numpy(pending[-_MAX_PENDING:]) if len(pending) else None
        base = self._improvement(model, baseline, waiting, seed)
        return base if self._feasibility is None else _Weighted(base, self._feasibility)

    def feasibility(self, rows: Rows) -> np.ndarray:
        """Return the learned probability that a trial gives every output: n x n_columns to n."""
        if self._feasibility is None:
            return np.ones(len(rows))
        with torch.no_grad():
            return self._feasibility.log_probability(torch.from_numpy(rows)).exp().numpy()

    def _improvement(
        self, model: SingleTaskGP | ModelListGP, baseline: Tensor, waiting: Tensor | None, seed: int
    ) -> AcquisitionFunction:
        constraints = self._goals.excesses or None
        if self._goals.n_objectives == 1:
            return qLogNoisyExpectedImprovement(
                model,
                baseline,
                sampler=SobolQMCNormalSampler(torch.Size([_N_SAMPLES_ONE]), seed=seed),
                objective=GenericMCObjective(lambda samples, X=None: -self._goals.losses(samples).squeeze(-1)),
                constraints=constraints,
                X_pending=waiting,
            )
        with _without_compiler():
            return qLogNoisyExpectedHypervolumeImprovement(
                model,
                self._reference,
                baseline,
                sampler=SobolQMCNormalSampler(torch.Size([_N_SAMPLES_SEVERAL]), seed=seed),
                objective=GenericMCMultiOutputObjective(lambda samples, X=None: -self._goals.losses(samples)),
                constraints=constraints,
                X_pending=waiting,
                prune_baseline=True,
                alpha=get_default_partitioning_alpha(self._goals.n_objectives),
            )


class _Weighted(AcquisitionFunction):
    """The logarithm of an improvement times the probability that the point works at all."""

    def __init__(self, base: AcquisitionFunction, feasibility: Feasibility) -> None:
        super().__init__(model=base.model)
        self._base = base
        self._works = feasibility

    def forward(self, X: Tensor) -> Tensor:
        return self._base(X) + self._works.log_probability(X.squeeze(-2))


def _kept(order: np.ndarray, n: int) -> np.ndarray:
    """Return the places of at most MAX_ROWS of `n` trials, given those that work, best first; in order of history."""
    if n <= MAX_ROWS:
        return np.arange(n)
    best = order[: MAX_ROWS // 2]
    others = np.setdiff1d(np.arange(n), best)
    spread = others[np.linspace(0, len(others) - 1, MAX_ROWS - len(best)).round().astype(int)]
    return np.sort(np.concatenate([best, spread]))


def _believing(model: SingleTaskGP | ModelListGP, pending: Tensor) -> SingleTaskGP | ModelListGP:
    """Return the model as if every pending point had given exactly what the model expects there."""
    if isinstance(model, ModelListGP):
        return ModelListGP(*[_believing(each, pending) for each in model.models])  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        mean = model.posterior(pending).mean
        believing = model.condition_on_observations(pending, mean, noise=torch.full_like(mean, 1e-6))
    believing.requires_grad_(False)
    return believing  # pyright: ignore[reportReturnType] - of the model's own class


@contextlib.contextmanager
def _without_compiler() -> Iterator[None]:
    """Keep botorch from compiling a C++ extension on first use.

    That takes half a minute, writes into the home folder, and gives figures that depend on the machine's compiler.
    """
    before = getattr(multi_objective_logei, "_load_attempted", None)
    multi_objective_logei._load_attempted = True
    try:
        yield
    finally:
        multi_objective_logei._load_attempted = before


@contextlib.contextmanager
def alone(seed: int) -> Iterator[None]:
    """Run torch on one thread, with its own random numbers, and without the warnings of botorch and linear_operator.

    All of these belong to the whole process, so planners on several threads take turns. What was set before is
    restored.
    """
    # record, because botorch switches some of its warnings back on where it raises them.
    with _TURN, warnings.catch_warnings(record=True), torch.random.fork_rng(devices=[]):
        n_threads = torch.get_num_threads()
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
