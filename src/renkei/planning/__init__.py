"""Planners and acceleration: what to try next, and how much faster that was. Pure in (history, seed)."""

from renkei.planning._port import Planner, create

__all__ = ["Planner", "create"]
