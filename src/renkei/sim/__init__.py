"""A whole federation in one process, on a virtual clock, with seeded faults: the real code, unchanged."""

from renkei.sim._many import run_seeds
from renkei.sim._small import Outcome, run_seed

__all__ = ["Outcome", "run_seed", "run_seeds"]
