# pyright: basic
"""The plots of the page."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from benchmarks.planning.scores import Case
from matplotlib.figure import Figure

OURS = "renkei"


def curves(cases: Sequence[Case], planners: Sequence[str], path: Path) -> None:
    """Plot each optimiser's mean score over problems and seeds against evaluations, a panel for each batch size."""
    batches = sorted({case.batch for case in cases})
    figure, axes = plt.subplots(
        1, len(batches), figsize=(5.2 * len(batches) + 1, 4.2), squeeze=False, layout="constrained"
    )
    for axis, batch in zip(axes[0], batches, strict=True):
        here = [case for case in cases if case.batch == batch]
        steps = range(max(batch, 4), min(case.n for case in here) + 1, batch if batch > 1 else 2)
        for k, planner in enumerate(planners):
            heights = [np.mean([case.scores(planner, n).mean() for case in here]) for n in steps]
            is_ours = planner == OURS
            axis.plot(
                steps, heights, label=planner, color="black" if is_ours else f"C{k}", linewidth=2.4 if is_ours else 1.2
            )
        axis.set(xlabel="evaluations", ylabel="mean score (0 random, 1 best known)", title=f"batch {batch}")
        axis.grid(alpha=0.3)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    _save(figure, path)


def scores_by_problem(cases: Sequence[Case], planners: Sequence[str], path: Path) -> None:
    """Plot each optimiser's mean score on each problem as a map of colours, a panel for each batch size."""
    batches = sorted({case.batch for case in cases})
    figure, axes = plt.subplots(1, len(batches), figsize=(5.6 * len(batches), 5.6), squeeze=False, layout="constrained")
    for axis, batch in zip(axes[0], batches, strict=True):
        here = [case for case in cases if case.batch == batch]
        heights = np.array([[case.scores(p).mean() for p in planners] for case in here])
        axis.imshow(heights, vmin=-0.5, vmax=1, cmap="viridis", aspect="auto")
        for (row, column), height in np.ndenumerate(heights):
            color = "white" if height < 0.5 else "black"
            axis.text(column, row, f"{height:.2f}", ha="center", va="center", fontsize=6, color=color)
        axis.set_xticks(range(len(planners)), planners, rotation=60, ha="right", fontsize=8)
        axis.set_yticks(range(len(here)), [case.problem for case in here], fontsize=8)
        axis.set_title(f"mean score, batch {batch}")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
