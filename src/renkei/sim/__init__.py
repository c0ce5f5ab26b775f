"""A whole federation in one process, on a virtual clock, with seeded faults: the real code, unchanged."""

from renkei.sim._federation import run_scenario
from renkei.sim._many import run_seeds
from renkei.sim._result import AllocationUse, CampaignResult, Result, SiteTally
from renkei.sim._scenario import Scenario, load_scenario, parse_scenario
from renkei.sim._small import Outcome, run_seed

__all__ = [
    "AllocationUse",
    "CampaignResult",
    "Outcome",
    "Result",
    "Scenario",
    "SiteTally",
    "load_scenario",
    "parse_scenario",
    "run_scenario",
    "run_seed",
    "run_seeds",
]
