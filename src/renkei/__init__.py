"""renkei: joint AI-driven discovery campaigns across laboratories that stay sovereign."""

__version__ = "0.1.0"

from renkei.errors import Infeasible, RenkeiError
from renkei.model.procedure import Unit, current_run, procedure

__all__ = ["Infeasible", "RenkeiError", "Unit", "__version__", "current_run", "procedure"]
