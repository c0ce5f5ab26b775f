"""The private Slurm that the tests have, for site west."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from slurm.cluster import Cluster, missing  # pyright: ignore

__all__ = ["Cluster", "missing"]
