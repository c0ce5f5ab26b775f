"""Sites as a campaign sees them: handles, messages, and the broker that picks one."""

from renkei.federation._broker import Broker, Choice, Route
from renkei.federation._handle import SiteHandle
from renkei.federation.messages import (
    CANCEL_BATCH,
    PASS,
    RUN_BATCH,
    CancelBatch,
    Description,
    Offer,
    Pass,
    Reports,
    RunBatch,
    RunRequest,
)

__all__ = [
    "CANCEL_BATCH",
    "PASS",
    "RUN_BATCH",
    "Broker",
    "CancelBatch",
    "Choice",
    "Description",
    "Offer",
    "Pass",
    "Reports",
    "Route",
    "RunBatch",
    "RunRequest",
    "SiteHandle",
]
