"""What a history says about points that were not tried: models of outputs and feasibility, and the acquisition."""

# pyright: basic, reportPrivateImportUsage=false
# torch and botorch ship no complete types; this module, _gp and _search are the only ones that touch them.

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

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
from renkei.planning._gp import fit
from renkei.planning._history import History, Scale
from renkei.planning._rows import Rows

MAX_ROWS = 1000
"""Models keep at most so many trials: the better half of them by rank, the rest evenly spread over the history."""

_MAX_BASELINE = 64
"""The best trials stand for all of them where the acquisition asks what is best already."""

_MAX_PENDING = 32
"""More pending points than this are not sampled jointly: the model believes its own mean at the older ones."""

_N_SAMPLES = 128

NUMERICAL_FAULTS = (RuntimeError, ValueError, ArithmeticError, BotorchError)
"""What torch, botorch and linear_operator raise when numbers go wrong."""


class Surrogate:
    """Models fitted to a history. Depends on the history alone.

    Args:
        history: At least one trial that gave every output.
        objectives: At least one.
        constraints: What outputs must satisfy.

    Raises:
        ValueError: The history does not suffice, or a fit failed.
    """

    def __init__(self, history: History, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> None:
        works = history.works()
        if not works.any():
            raise ValueError("no trial gave every output")
        rows = history.rows()
        targets = {o.output for o in objectives if o.goal == "target"}
        values = {name: history.values(name) for name in history.outputs}
        self._scales = {
            name: Scale.fit(v[np.isfinite(v)], may_log=name not in targets) for name, v in values.items()
        }
        self._outputs = list(history.outputs)
        self._losses = [_loss(o, self._outputs.index(o.output), self._scales[o.output]) for o in objectives]
        self._constraints = _excesses(constraints, self._outputs, self._scales)
        scaled = np.column_stack([self._scales[name].scaled(values[name]) for name in self._outputs])

        order = np.flatnonzero(works)[_ranked(scaled[works], self._losses, self._constraints)]
        self.best_rows = rows[order[:_MAX_BASELINE]]
        kept = _kept(order, len(rows))
        self._owner = torch.from_numpy(history.codec.owner)
        models: list[SingleTaskGP] = []
        for place, name in enumerate(self._outputs):
            known = kept[np.isfinite(scaled[kept, place])]
            noise = self._scales[name].noise(values[name][known], history.noise(name)[known])
            models.append(
                fit(
                    torch.from_numpy(rows[known]),
                    torch.from_numpy(scaled[known, place]),
                    None if np.isnan(noise).any() else torch.from_numpy(noise**2),
                    self._owner,
                )
            )
        self._model = models[0] if len(models) == 1 else ModelListGP(*models)
        self._feasibility: SingleTaskGP | None = None
        if not works[kept].all():
            labels = torch.from_numpy(np.where(works[kept], 1.0, -1.0))
            self._feasibility = fit(torch.from_numpy(rows[kept]), labels, None, self._owner)
        self._reference = _reference(scaled[works], objectives, self._losses, self._constraints, self._scales)
        self.n_rows = len(kept)

    def acquisition(self, pending: Rows, seed: int) -> AcquisitionFunction:
        """Return what to maximise: n x 1 x n_columns to n values, the logarithm of the expected improvement.

        Args:
            pending: Points on their way, n_pending x n_columns.
            seed: Of the quasi-random samples.
        """
        model = self._model
        if len(pending) > _MAX_PENDING:
            model = _believing(model, torch.from_numpy(pending[:-_MAX_PENDING]))
            pending = pending[-_MAX_PENDING:]
        constraints = self._constraints or None
        sampler = SobolQMCNormalSampler(torch.Size([_N_SAMPLES]), seed=seed)
        waiting = torch.from_numpy(pending) if len(pending) else None
        best = torch.from_numpy(self.best_rows)
        if len(self._losses) == 1:
            loss = self._losses[0]
            base: AcquisitionFunction = qLogNoisyExpectedImprovement(
                model,
                best,
                sampler=sampler,
                objective=GenericMCObjective(lambda samples, X=None: -loss(samples)),
                constraints=constraints,
                X_pending=waiting,
            )
        else:
            with _without_compiler():
                base = qLogNoisyExpectedHypervolumeImprovement(
                    model,
                    self._reference,
                    best,
                    sampler=sampler,
                    objective=GenericMCMultiOutputObjective(
                        lambda samples, X=None: -torch.stack([loss(samples) for loss in self._losses], dim=-1)
                    ),
                    constraints=constraints,
                    X_pending=waiting,
                    prune_baseline=True,
                    alpha=get_default_partitioning_alpha(len(self._losses)),
                )
        return base if self._feasibility is None else _Weighted(base, self._feasibility)

    def feasibility(self, rows: Rows) -> np.ndarray:
        """Return the learned probability that a trial gives outputs: n x n_columns to n."""
        if self._feasibility is None:
            return np.ones(len(rows))
        with torch.no_grad():
            return _log_feasibility(self._feasibility, torch.from_numpy(rows).unsqueeze(1)).exp().numpy()


class _Weighted(AcquisitionFunction):
    """The logarithm of an improvement times the probability that the point works at all."""

    def __init__(self, base: AcquisitionFunction, feasibility: SingleTaskGP) -> None:
        super().__init__(model=base.model)
        self.base = base
        self.feasibility = feasibility

    def forward(self, X: Tensor) -> Tensor:
        return self.base(X) + _log_feasibility(self.feasibility, X)


def _log_feasibility(model: SingleTaskGP, X: Tensor) -> Tensor:
    """Return log P(label > 0) of a process fitted to labels 1 (works) and -1: n x 1 x n_columns to n."""
    posterior = model.posterior(X)
    noise = model.likelihood.noise.mean()
    deviation = (posterior.variance + noise).sqrt()
    return torch.special.log_ndtr(posterior.mean / deviation).squeeze(-1).squeeze(-1)


Measured = Callable[[Tensor], Tensor]
"""Maps scaled outputs, ... x n_outputs, to a loss or to how far a constraint is exceeded, ..."""


def _loss(objective: Objective, place: int, scale: Scale) -> Measured:
    if objective.goal == "target":
        assert objective.target is not None
        aim = scale.bound(objective.target)
        return lambda outputs: (outputs[..., place] - aim).abs()
    sign = -1.0 if objective.goal == "maximize" else 1.0
    return lambda outputs: sign * outputs[..., place]


def _excesses(constraints: Sequence[Constraint], outputs: list[str], scales: dict[str, Scale]) -> list[Measured]:
    found: list[Measured] = []
    for constraint in constraints:
        place, scale = outputs.index(constraint.output), scales[constraint.output]
        for bound, sign in ((scale.bound(constraint.upper), 1.0), (scale.bound(constraint.lower), -1.0)):
            if np.isfinite(bound):
                found.append(lambda y, place=place, bound=bound, sign=sign: sign * (y[..., place] - bound))
    return found


def _ranked(scaled: np.ndarray, losses: list[Measured], excesses: list[Measured]) -> np.ndarray:
    """Return trials, best first: by the sum of constraint violations, then by how many others dominate them."""
    outputs = torch.from_numpy(scaled)
    all_losses = torch.stack([loss(outputs) for loss in losses], dim=-1).numpy()
    violation = sum((excess(outputs).clamp_min(0.0).numpy() for excess in excesses), np.zeros(len(scaled)))
    if len(losses) == 1:
        return np.lexsort((all_losses[:, 0], violation))
    n_better = np.array([((all_losses <= each).all(1) & (all_losses < each).any(1)).sum() for each in all_losses])
    return np.lexsort((n_better, violation))


def _kept(order: np.ndarray, n: int) -> np.ndarray:
    """Return the places of at most MAX_ROWS of `n` trials, given those that work, best first; in order of history."""
    if n <= MAX_ROWS:
        return np.arange(n)
    best = order[: MAX_ROWS // 2]
    others = np.setdiff1d(np.arange(n), best)
    spread = others[np.linspace(0, len(others) - 1, MAX_ROWS - len(best)).round().astype(int)]
    return np.sort(np.concatenate([best, spread]))


def _reference(
    scaled: np.ndarray,
    objectives: Sequence[Objective],
    losses: list[Measured],
    excesses: list[Measured],
    scales: dict[str, Scale],
) -> Tensor:
    """Return the reference point of the hypervolume, as losses negated: n_objectives.

    A tenth of the front's range worse than the worst of the front in each objective, and not better than what is to be
    reached.
    """
    outputs = torch.from_numpy(scaled)
    all_losses = torch.stack([loss(outputs) for loss in losses], dim=-1)
    allowed = torch.ones(len(outputs), dtype=torch.bool)
    for excess in excesses:
        allowed &= excess(outputs) <= 0.0
    used = all_losses[allowed] if allowed.any() else all_losses
    dominated = ((used.unsqueeze(0) <= used.unsqueeze(1)).all(-1) & (used.unsqueeze(0) < used.unsqueeze(1)).any(-1)).any(1)
    front = used[~dominated]
    span = front.amax(0) - front.amin(0)
    whole = (used.amax(0) - used.amin(0)).clamp_min(1e-6)
    margin = 0.1 * torch.where(span > 0.0, span, whole)
    worst = front.amax(0) + margin
    for place, objective in enumerate(objectives):
        if objective.reach_loss is not None:
            worst[place] = max(float(worst[place]), _scaled_reach(objective, scales[objective.output]) + float(margin[place]))
    return -worst


def _scaled_reach(objective: Objective, scale: Scale) -> float:
    assert objective.reach is not None
    if objective.goal == "target":
        return objective.reach / scale.spread
    bound = scale.bound(objective.reach)
    return -bound if objective.goal == "maximize" else bound


def _believing(model: SingleTaskGP | ModelListGP, pending: Tensor) -> SingleTaskGP | ModelListGP:
    """Return the model as if every pending point had given exactly what the model expects there."""
    if isinstance(model, ModelListGP):
        return ModelListGP(*[_believing(each, pending) for each in model.models])
    with torch.no_grad():
        mean = model.posterior(pending).mean
        noise = torch.full_like(mean, 1e-6)
        believing = model.condition_on_observations(pending, mean, noise=noise)
    believing.requires_grad_(False)
    return believing


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

    What torch was set to before is restored.
    """
    n_threads = torch.get_num_threads()
    # record, because botorch switches some of its warnings back on where it raises them.
    with warnings.catch_warnings(record=True), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
