"""What a history says about points that were not tried: models of outputs and feasibility, and the acquisition."""

# pyright: basic, reportPrivateImportUsage=false
# torch and botorch ship no complete types.

import contextlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.exceptions.errors import BotorchError
from botorch.models import SingleTaskGP
from threadpoolctl import ThreadpoolController
from torch import Tensor

from renkei.model.space import Constraint, Objective
from renkei.planning._feasibility import Feasibility, fit_feasibility
from renkei.planning._goals import Goals
from renkei.planning._gp import fit
from renkei.planning._history import History, Scale
from renkei.planning._improvement import Improvement, Process
from renkei.planning._listing import Places
from renkei.planning._rows import Rows
from renkei.planning._shortlist import shortlist

MAX_ROWS = 1000
"""Models keep at most so many trials: the best half of so many, the rest evenly spread over the history."""

_MIN_ROWS_ON_GPU = 300
"""Below this the matrices are too small for a GPU to gain what launching its kernels costs; not measured on one."""

NUMERICAL_FAULTS = (RuntimeError, ValueError, ArithmeticError, BotorchError)
"""What torch, botorch and linear_operator raise when numbers go wrong."""

_TURN = threading.RLock()

_BLAS = ThreadpoolController().select(user_api="blas")
"""What scipy and numpy calculate with. A fit takes many times as long where its threads wait for each other."""

_MAX_BASELINE = 64
"""The best trials stand for all of them where the acquisition asks what is best already."""

_MAX_ANCHORS = 32
"""Of those, at most so many that may be best are sampled."""

_SIDES = {"minimize": 1, "maximize": -1, "target": 0}
"""On which side the bad values of an objective lie."""


class Surrogate:
    """Models fitted to a history; depends on the history alone.

    Args:
        history: What was told.
        objectives: At least one.
        constraints: What outputs must satisfy.
        device: Where the acquisition is computed: "cpu", "cuda", or "auto" for a GPU where there is one and the history
            is long.

    Attributes:
        best_rows: The best trials, best first, n x n_columns.
        n_rows: Trials that the models keep.
        models: One an output.

    Raises:
        ValueError: No trial gave every output, or a fit did not converge.
    """

    def __init__(
        self,
        history: History,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        device: str = "cpu",
    ) -> None:
        rows, works = history.rows(), history.works()
        if not works.any():
            raise ValueError("no trial gave every output")
        values = {name: history.values(name) for name in history.outputs}
        sides = {objectives[0].output: _SIDES[objectives[0].goal]} if len(objectives) == 1 else {}
        scales = {
            name: Scale.fit(v[np.isfinite(v)], may_log=True, bad=sides.get(name, 0)) for name, v in values.items()
        }
        scaled = np.column_stack([scales[name].scaled(v) for name, v in values.items()])

        order = np.flatnonzero(works)[Goals(objectives, constraints, scales).ranking(scaled[works])]
        kept = _kept(order, len(rows))
        self.best_rows = rows[order[:_MAX_BASELINE]]
        self.n_rows = len(kept)
        self._device = chosen_device(device, self.n_rows)

        owner = torch.from_numpy(history.codec.owner)
        self.models: list[SingleTaskGP] = []
        for place, (name, scale) in enumerate(scales.items()):
            known = kept[np.isfinite(scaled[kept, place])]
            noise = scale.noise(values[name][known], history.noise(name)[known])
            variance = None if np.isnan(noise).any() else torch.from_numpy(noise**2)
            targets = torch.from_numpy(scaled[known, place])
            model, size = fit(torch.from_numpy(rows[known]), targets, variance, owner)
            self.models.append(model)
            scales[name] = replace(scale, spread=scale.spread * size)
            scaled[:, place] /= size
        self._goals = Goals(objectives, constraints, scales)
        self._frame = self._goals.frame(scaled[works])
        self._processes = [Process(model, self._device) for model in self.models]
        self._baseline = self._pruned(torch.from_numpy(self.best_rows).to(self._device))
        self._feasibility: Feasibility | None = None
        if not works[kept].all():
            self._feasibility = fit_feasibility(torch.from_numpy(rows[kept]), torch.from_numpy(works[kept]), owner)

    def acquisition(self, pending: Rows, seed: int) -> AcquisitionFunction:
        """Return what to maximise, the logarithm of the expected improvement: n x 1 x n_columns to n.

        Args:
            pending: Points on their way, n_pending x n_columns.
            seed: Of the quasi-random samples.
        """
        anchors = torch.cat([self._baseline, torch.from_numpy(pending).to(self._device)])
        works = None if self._feasibility is None else self._feasibility.to(self._device)
        return Improvement(self._processes, self._goals, self._frame, anchors, works, seed)

    def shortlist(self, rows: Rows, seed: int) -> Places:
        """Return the places of the rows, of many, among which the acquisition is largest: n x n_columns to n_short."""
        return shortlist(self.models, self._feasibility, self._goals, rows, seed)

    def feasibility(self, rows: Rows) -> np.ndarray:
        """Return the learned probability that a trial gives every output: n x n_columns to n."""
        if self._feasibility is None:
            return np.ones(len(rows))
        with torch.no_grad():
            return self._feasibility.log_probability(torch.from_numpy(rows)).exp().numpy()

    def _pruned(self, rows: Tensor) -> Tensor:
        """Return the rows that may be best, at most _MAX_ANCHORS; at least the first."""
        trial = Improvement(self._processes, self._goals, self._frame, rows, None, 0)
        counts = trial.n_best
        counts[0] += 1
        order = torch.argsort(counts, descending=True, stable=True)[:_MAX_ANCHORS]
        return rows[order[counts[order] > 0].sort().values]


def chosen_device(wanted: str, n_rows: int) -> str:
    """Return "cuda" where it is wanted or, for "auto", where torch has a GPU and models keep many rows; else "cpu"."""
    if wanted == "auto":
        return "cuda" if n_rows >= _MIN_ROWS_ON_GPU and torch.cuda.is_available() else "cpu"
    return wanted


def _kept(order: np.ndarray, n: int) -> np.ndarray:
    """Return the places of at most MAX_ROWS of `n` trials, given those that work, best first; in order of history."""
    if n <= MAX_ROWS:
        return np.arange(n)
    best = order[: MAX_ROWS // 2]
    others = np.setdiff1d(np.arange(n), best)
    spread = others[np.linspace(0, len(others) - 1, MAX_ROWS - len(best)).round().astype(int)]
    return np.sort(np.concatenate([best, spread]))


@contextlib.contextmanager
def alone(seed: int) -> Iterator[None]:
    """Calculate on one thread, with random numbers of its own, and without the warnings of botorch and linear_operator.

    All of these belong to the whole process, so planners on several threads take turns. What was set before is
    restored.
    """
    # record, because botorch switches some of its warnings back on where it raises them.
    with _TURN, warnings.catch_warnings(record=True), torch.random.fork_rng(devices=[]), _BLAS.limit(limits=1):
        n_threads = torch.get_num_threads()
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
