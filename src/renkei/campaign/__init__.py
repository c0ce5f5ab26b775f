"""Campaigns: the closed loop over sites, its ledger, and what it found."""

from renkei.campaign._campaign import Campaign, best_of, observations_of
from renkei.campaign._routes import descriptions_of, descriptions_to_resume, routes_over
from renkei.campaign._runner import Runner
from renkei.campaign._sources import planner_sources
from renkei.campaign._state import RunRow, Status, StatusRow, TrialRow, TrialRuns, Trials

__all__ = [
    "Campaign",
    "RunRow",
    "Runner",
    "Status",
    "StatusRow",
    "TrialRow",
    "TrialRuns",
    "Trials",
    "best_of",
    "descriptions_of",
    "descriptions_to_resume",
    "observations_of",
    "planner_sources",
    "routes_over",
]
