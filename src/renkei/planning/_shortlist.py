"""Which of many listed points an acquisition need look at."""

# pyright: basic, reportPrivateImportUsage=false
# torch ships no complete types.

from collections.abc import Sequence

import numpy as np
import torch
from botorch.models import SingleTaskGP
from scipy.stats import qmc
from torch import Tensor

from renkei.planning._feasibility import Feasibility
from renkei.planning._goals import Goals
from renkei.planning._gp import marginals
from renkei.planning._listing import Places
from renkei.planning._rows import Rows

_N_DRAWS = 32
"""Quasi-random quantiles at which all points are compared; a power of two."""

_N_EACH = 64
"""Points that each of them puts on the list."""

_BREADTH = 2.0
"""Standard deviations of the draws: from 4 below to 4 above the mean, as far as any improvement is looked for."""

_PENALTY = 10.0
_CHUNK = 4096


def shortlist(
    models: Sequence[SingleTaskGP], feasibility: Feasibility | None, goals: Goals, rows: Rows, seed: int
) -> Places:
    """Return places, ascending, of at most 2,048 rows, among which an expected improvement is largest.

    Such a row is best of all where all outputs lie at one quantile or another of what the models expect: the expected
    improvement grows with the promise of the mean and with the deviation. So at each of several quantiles, drawn
    independently for every output, the best rows are taken; of several objectives by the largest of their losses
    (Chebyshev) with drawn weights.

    Args:
        models: One an output.
        feasibility: Where points work, if it is known.
        goals: What is good.
        rows: What to choose from, n x n_columns.
        seed: Of the quantiles and the weights.
    """
    everything = torch.from_numpy(rows)
    with torch.no_grad():
        known = [_in_parts(model, everything) for model in models]
        if feasibility is not None:
            known.append(_joined([feasibility.latent(part) for part in everything.split(_CHUNK)]))
        means, deviations = (torch.stack(columns, dim=-1) for columns in zip(*known, strict=True))
        n_known, n_objectives = means.shape[1], goals.n_objectives
        normal = qmc.MultivariateNormalQMC(np.zeros(n_known + n_objectives), rng=np.random.default_rng(seed))
        draws = torch.from_numpy(normal.random(_N_DRAWS))
        weights = draws[:, n_known:].square()
        weights = weights / weights.sum(dim=-1, keepdim=True)
        found: set[int] = set()
        for quantile, weight in zip(draws[:, :n_known], weights, strict=True):
            outputs = means + _BREADTH * quantile * deviations
            losses = goals.losses(outputs)
            score = ((losses - losses.amin(dim=0)) * weight).amax(dim=-1)
            for excess in goals.excesses:
                score = score + _PENALTY * excess(outputs).clamp_min(0.0)
            if feasibility is not None:
                score = score + _PENALTY * (-outputs[:, -1]).clamp_min(0.0)
            found.update(score.topk(min(_N_EACH, len(rows)), largest=False).indices.tolist())
    return np.array(sorted(found), dtype=np.int64)


def _in_parts(model: SingleTaskGP, rows: Tensor) -> tuple[Tensor, Tensor]:
    at = marginals(model)
    return _joined([at(part) for part in rows.split(_CHUNK)])


def _joined(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    means, deviations = zip(*parts, strict=True)
    return torch.cat(means), torch.cat(deviations)
