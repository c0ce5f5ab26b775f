"""Reports: what a campaign found, how much faster, at what price; its audit; and everything as one crate."""

from renkei.report._acceleration import Accelerations, measure_acceleration
from renkei.report._audit import LedgerAudit, audit_campaign
from renkei.report._crate import write_crate
from renkei.report._history import History, Run, read_history
from renkei.report._html import render_report, write_report
from renkei.report._summary import summarize
from renkei.report._view import CampaignView, SiteView, view_campaign

__all__ = [
    "Accelerations",
    "CampaignView",
    "History",
    "LedgerAudit",
    "Run",
    "SiteView",
    "audit_campaign",
    "measure_acceleration",
    "read_history",
    "render_report",
    "summarize",
    "view_campaign",
    "write_crate",
    "write_report",
]
