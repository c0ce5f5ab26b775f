"""Imports torch and botorch as planners do, and hands on what tests need of them.

On import they warn of each other's deprecations, which in tests would be errors.
"""

from renkei.planning.bayesian import _import_models  # pyright: ignore[reportPrivateUsage]

_import_models()

from botorch.acquisition import AcquisitionFunction  # noqa: E402
from botorch.models import SingleTaskGP  # noqa: E402

__all__ = ["AcquisitionFunction", "SingleTaskGP"]
