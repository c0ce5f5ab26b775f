"""Planners and acceleration: what to try next, and how much faster that was. Pure in (history, seed)."""

from renkei.planning._port import Planner, Source, create
from renkei.planning.acceleration import (
    Acceleration,
    Baseline,
    Curve,
    Pool,
    Replicates,
    Sampled,
    Step,
    accelerate,
    draws_interval,
    enhancement,
    expected_draws,
)
from renkei.planning.pareto import Yardstick, hypervolume, pareto_front

__all__ = [
    "Acceleration",
    "Baseline",
    "Curve",
    "Planner",
    "Pool",
    "Replicates",
    "Sampled",
    "Source",
    "Step",
    "Yardstick",
    "accelerate",
    "create",
    "draws_interval",
    "enhancement",
    "expected_draws",
    "hypervolume",
    "pareto_front",
]
