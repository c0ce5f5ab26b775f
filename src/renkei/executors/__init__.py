"""Engines that run jobs, behind one port. Each engine's module is imported only where it is used."""

from renkei.executors._loading import load_code, load_procedure, procedures_in
from renkei.executors._port import Command, Executor, Job, JobEnd, JobState, Report, Resources

__all__ = [
    "Command",
    "Executor",
    "Job",
    "JobEnd",
    "JobState",
    "Report",
    "Resources",
    "load_code",
    "load_procedure",
    "procedures_in",
]
