"""An institution's side of a run: intake, decision, reservation, execution, settlement."""

from renkei.site._backend import Backend, BackendRow
from renkei.site._jobs import JOB, JobSpec, job_offer, job_problems, read_job_spec
from renkei.site._offer import Offered
from renkei.site._open import executor_of, offers_of, open_site, policies_of
from renkei.site._runs import RunRow, Runs
from renkei.site._site import Site
from renkei.site._terms import AgreementSource, Amendments, Revocations

__all__ = [
    "JOB",
    "AgreementSource",
    "Amendments",
    "Backend",
    "BackendRow",
    "JobSpec",
    "Offered",
    "Revocations",
    "RunRow",
    "Runs",
    "Site",
    "executor_of",
    "job_offer",
    "job_problems",
    "offers_of",
    "open_site",
    "policies_of",
    "read_job_spec",
]
