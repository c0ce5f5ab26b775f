"""renkei: joint AI-driven discovery campaigns across laboratories that stay sovereign.

Importing this package is quick; what needs more than the procedure decorator is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from renkei.errors import Infeasible, RenkeiError
from renkei.model.procedure import Unit, current_run, procedure

if TYPE_CHECKING:
    from renkei._python import AskTell, run
    from renkei.home import Home, Session
    from renkei.ledger import LedgerReader, verify
    from renkei.model.space import Choice, Constraint, Integer, Objective, Observation, ParameterConstraint, Real, Space
    from renkei.planning import create as create_planner

__version__ = "0.1.0"

_LATER = {
    "AskTell": "renkei._python",
    "Choice": "renkei.model.space",
    "Constraint": "renkei.model.space",
    "Home": "renkei.home",
    "Integer": "renkei.model.space",
    "LedgerReader": "renkei.ledger",
    "Objective": "renkei.model.space",
    "Observation": "renkei.model.space",
    "ParameterConstraint": "renkei.model.space",
    "Real": "renkei.model.space",
    "Session": "renkei.home",
    "Space": "renkei.model.space",
    "create_planner": "renkei.planning:create",
    "run": "renkei._python",
    "verify": "renkei.ledger",
}

__all__ = [
    "AskTell",
    "Choice",
    "Constraint",
    "Home",
    "Infeasible",
    "Integer",
    "LedgerReader",
    "Objective",
    "Observation",
    "ParameterConstraint",
    "Real",
    "RenkeiError",
    "Session",
    "Space",
    "Unit",
    "__version__",
    "create_planner",
    "current_run",
    "procedure",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'renkei' has no attribute '{name}'")
    module, _, attribute = _LATER[name].partition(":")
    return getattr(import_module(module), attribute or name)
