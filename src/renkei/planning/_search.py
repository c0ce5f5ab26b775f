"""Where an acquisition is largest: among listed points, or in a whole space."""

# pyright: basic, reportPrivateImportUsage=false
# torch and botorch ship no complete types.

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.generation.gen import gen_candidates_scipy
from scipy.stats import qmc

from renkei.planning._confined import Confined
from renkei.planning._rows import RowCodec, Rows

_N_FAR = 512
"""Quasi-random rows that are compared; a power of two."""

_N_NEAR = 128
"""Rows around the incumbents that are compared."""

_N_CENTRES = 4
"""Incumbents around which these rows lie."""

_N_STARTS = 2
"""Climbs from each of the two kinds of rows."""

_MAX_ROUNDS = 4
_MAX_STEPS = 16
"""After the climbs, at most so many rounds of at most so many steps."""

_NEAR_SIZES = np.array([0.02, 0.05, 0.1, 0.2])
_MAX_CHUNK = 512
_ELEMENTS = 4_000_000
"""Numbers in the largest matrix that one evaluation may build; 32 MB."""


class Search:
    """Searches one acquisition.

    Args:
        acquisition: n x 1 x n_columns to n.
        load: Numbers that the model builds for one row; rules how many rows go at once.
        n_objectives: Several make the acquisition dearer, so fewer rows are compared.
    """

    def __init__(self, acquisition: AcquisitionFunction, load: int, n_objectives: int) -> None:
        self._acquisition = acquisition
        self._chunk = max(1, min(_MAX_CHUNK // n_objectives, _ELEMENTS // max(1, load)))
        self._n_far = _N_FAR // (1 << (n_objectives - 1).bit_length())

    def values(self, rows: Rows) -> np.ndarray:
        """Return the acquisition at rows, minus infinity where it is not a number: n x n_columns to n."""
        with torch.no_grad():
            parts = [self._acquisition(part.unsqueeze(1)) for part in torch.from_numpy(rows).split(self._chunk)]
        return np.nan_to_num(torch.cat(parts).numpy(), nan=-np.inf)

    def best_row(
        self, codec: RowCodec, incumbents: Rows, taken: Rows, seed: int, confined: Confined | None = None
    ) -> np.ndarray | None:
        """Return the legal row where the acquisition is largest and that is not taken; None when all found are.

        Quasi-random rows and rows near the incumbents are compared; the best of both are climbed by L-BFGS in the
        columns that move continuously; from the top, single steps in the other columns and climbs take turns.

        Args:
            codec: Of the space.
            incumbents: The best rows so far, best first, n x n_columns.
            taken: Rows that must not come again, n x n_columns.
            seed: Of the quasi-random rows.
            confined: Where constraints between parameters hold, if there are any. Then rows are random instead of
                quasi-random, and climbed by sequential quadratic programming.
        """
        chance = np.random.default_rng(seed)
        if confined is None:
            kinds = [
                codec.from_units(qmc.Sobol(codec.n_parameters, rng=chance).random(self._n_far)),
                _near(codec, incumbents, chance),
            ]
        else:
            centres = confined.anchors(incumbents)
            starts = centres[np.arange(_N_NEAR) % min(_N_CENTRES, len(centres))]
            kinds = [confined.scattered(self._n_far, chance), confined.reached(starts, _near(codec, centres, chance))]
        n_far = len(kinds[0])
        rows, values = np.concatenate(kinds), self.values(np.concatenate(kinds))
        order = np.argsort(-values, kind="stable")
        starts = [order[order < n_far][:_N_STARTS], order[order >= n_far][:_N_STARTS]]
        climbed = self._climbed(codec, rows[np.concatenate(starts)], confined)
        rows, values = np.concatenate([rows, climbed]), np.concatenate([values, self.values(climbed)])
        for _ in range(_MAX_ROUNDS):
            stepped = self._stepped(codec, rows[values.argmax()], values.max(), confined)
            if len(stepped) == 0:
                break
            found = np.concatenate([stepped, self._climbed(codec, stepped[-1:], confined)])
            rows, values = np.concatenate([rows, found]), np.concatenate([values, self.values(found)])
        apart = 1e-9 if codec.is_discrete else 1e-6
        for at in np.argsort(-values, kind="stable"):
            if len(taken) == 0 or np.abs(taken - rows[at]).max(axis=1).min() > apart:
                return rows[at]
        return None

    def _stepped(self, codec: RowCodec, row: np.ndarray, value: float, confined: Confined | None) -> Rows:
        """Return the rows of the way up from `row` in single steps to the best neighbour, n x n_columns; maybe none."""
        way: list[np.ndarray] = []
        while len(way) < _MAX_STEPS and len(around := _around(codec, row, confined)):
            values = self.values(around)
            if values.max() <= value + 1e-9:
                break
            row, value = around[values.argmax()], values.max()
            way.append(row)
        return codec.stacked(way)

    def _climbed(self, codec: RowCodec, rows: Rows, confined: Confined | None) -> Rows:
        """Return the legal rows to which L-BFGS climbs from `rows`: n x n_columns."""
        if len(codec.fixed) == codec.n_columns:
            return rows
        if confined is not None:
            return confined.climbed(rows, self._slope)
        starts = torch.from_numpy(rows).unsqueeze(1)
        found, _ = gen_candidates_scipy(
            starts,
            self._acquisition,
            lower_bounds=torch.zeros(codec.n_columns, dtype=starts.dtype),
            upper_bounds=torch.from_numpy(codec.upper),
            fixed_features={column: starts[:, 0, column] for column in codec.fixed} or None,
            options={"maxiter": 60},
        )
        return codec.legal(found.detach().squeeze(1).numpy())

    def _slope(self, row: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the acquisition at one row and its gradient: n_columns both."""
        place = torch.from_numpy(row).requires_grad_()
        value = self._acquisition(place[None, None]).sum()
        [gradient] = torch.autograd.grad(value, place)
        return value.item(), gradient.numpy()


def _around(codec: RowCodec, row: np.ndarray, confined: Confined | None) -> Rows:
    around = codec.neighbours(row)
    if confined is None:
        return around
    return np.concatenate([around[confined.holds(around)], confined.exchanged(row)])


def _near(codec: RowCodec, incumbents: Rows, chance: np.random.Generator) -> Rows:
    """Return legal rows around the first incumbents: n x n_columns."""
    turn = np.arange(_N_NEAR)
    n_centres = min(_N_CENTRES, len(incumbents))
    sizes = _NEAR_SIZES[(turn // n_centres) % len(_NEAR_SIZES)][:, np.newaxis]
    moved = chance.random((_N_NEAR, codec.n_parameters))[:, codec.owner] < max(0.3, 2.0 / codec.n_parameters)
    # A choice changes where noise on its columns outweighs the one-hot height.
    width = np.where(codec.upper < 1.0, 0.5, sizes)
    return codec.legal(
        incumbents[turn % n_centres] + moved * width * chance.standard_normal((_N_NEAR, codec.n_columns))
    )
