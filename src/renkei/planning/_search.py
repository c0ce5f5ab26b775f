"""Where an acquisition is largest: over a list of points, or over a whole space."""

# pyright: basic, reportPrivateImportUsage=false
# torch and botorch ship no complete types; this module, _gp and _surrogate are the only ones that touch them.

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.generation.gen import gen_candidates_scipy
from scipy.stats import qmc

from renkei.planning._rows import RowCodec, Rows

_N_FAR = 512
_N_NEAR = 128
_N_STARTS = 4
_MAX_STEPS = 16
_ELEMENTS = 4_000_000
"""Numbers in the largest matrix that one evaluation may build; 32 MB."""


class Search:
    """Searches one acquisition.

    Args:
        acquisition: n x 1 x n_columns to n.
        load: Numbers that the model builds for one row; rules how many rows go at once.
    """

    def __init__(self, acquisition: AcquisitionFunction, load: int) -> None:
        self._acquisition = acquisition
        self._chunk = max(1, _ELEMENTS // max(1, load))

    def values(self, rows: Rows) -> np.ndarray:
        """Return the acquisition at rows, minus infinity where it is not a number: n x n_columns to n."""
        with torch.no_grad():
            parts = [self._acquisition(part.unsqueeze(1)) for part in torch.from_numpy(rows).split(self._chunk)]
        return np.nan_to_num(torch.cat(parts).numpy(), nan=-np.inf)

    def best_row(self, codec: RowCodec, incumbents: Rows, taken: Rows, seed: int) -> np.ndarray | None:
        """Return the legal row where the acquisition is largest and that is not taken; None when all found are.

        Quasi-random rows and rows near the incumbents are compared; the best of both are climbed by L-BFGS in the
        columns that move continuously, then by single steps in the others, in turns.

        Args:
            codec: Of the space.
            incumbents: The best rows so far, best first, n x n_columns.
            taken: Rows that must not come again, n x n_columns.
            seed: Of the quasi-random rows.
        """
        chance = np.random.default_rng(seed)
        far = codec.from_units(qmc.Sobol(int(codec.owner.max()) + 1, rng=chance).random(_N_FAR))
        near = _near(codec, incumbents, chance)
        tried = np.concatenate([near, far])
        values = self.values(tried)
        ranks = [group[np.argsort(-values[group], kind="stable")] for group in np.split(np.arange(len(tried)), [len(near)])]
        starts = np.concatenate([rank[: _N_STARTS // 2] for rank in ranks])
        climbed = self._climb(codec, tried[starts])
        climbed_values = self.values(climbed)
        row, value = climbed[climbed_values.argmax()], climbed_values.max()
        steps: list[np.ndarray] = []
        for _ in range(_MAX_STEPS):
            around = codec.neighbours(row)
            if len(around) == 0:
                break
            around_values = self.values(around)
            if around_values.max() <= value + 1e-9:
                break
            stepped = np.concatenate([around[around_values.argmax()][None], self._climb(codec, around[around_values.argmax()][None])])
            stepped_values = self.values(stepped)
            row, value = stepped[stepped_values.argmax()], stepped_values.max()
            steps.append(row)
        every = np.concatenate([tried, climbed, *[step[None] for step in steps]])
        every_value = np.concatenate([values, climbed_values, self.values(np.array(steps)) if steps else []])
        limit = 1e-9 if codec.is_discrete else 1e-6
        for at in np.argsort(-every_value, kind="stable"):
            if len(taken) == 0 or np.abs(taken - every[at]).max(axis=1).min() > limit:
                return every[at]
        return None

    def _climb(self, codec: RowCodec, rows: Rows) -> Rows:
        """Return the legal rows to which L-BFGS climbs from `rows`: n x n_columns."""
        if len(codec.fixed) == codec.n_columns:
            return rows
        starts = torch.from_numpy(rows).unsqueeze(1)
        found, _ = gen_candidates_scipy(
            starts,
            self._acquisition,
            lower_bounds=torch.zeros(codec.n_columns, dtype=starts.dtype),
            upper_bounds=torch.from_numpy(codec.upper),
            fixed_features={c: starts[:, 0, c] for c in codec.fixed} or None,
            options={"maxiter": 60},
        )
        return codec.legal(found.detach().squeeze(1).numpy())


def _near(codec: RowCodec, incumbents: Rows, chance: np.random.Generator) -> Rows:
    """Return legal rows around the first incumbents: n x n_columns."""
    centres = incumbents[np.arange(_N_NEAR) % min(4, len(incumbents))]
    sizes = np.array([0.02, 0.05, 0.1, 0.2])[(np.arange(_N_NEAR) // 4) % 4][:, None]
    n_parameters = int(codec.owner.max()) + 1
    moved = chance.random((_N_NEAR, n_parameters))[:, codec.owner] < max(0.3, 2.0 / n_parameters)
    # A choice changes where noise on its columns outweighs the one-hot height.
    width = np.where(codec.upper < 1.0, 0.5, sizes)
    return codec.legal(centres + moved * width * chance.standard_normal(centres.shape))
