"""A procedure as a site offers it: what it costs, how long it may take, and where its code is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from renkei.executors import Command, Job, JobEnd, Resources
from renkei.federation import Offer
from renkei.model.procedure import ProcedureSpec
from renkei.model.quantity import Quantity
from renkei.model.space import Point
from renkei.site._runs import RunRow


@dataclass(frozen=True)
class Offered:
    """A procedure that a site offers.

    Args:
        spec: What it takes and gives.
        target: Its code, as executors take it.
        unit: The allocation unit that it is charged in.
        per_run: Charge a run.
        per_hour: Charge an hour of run time.
        time_limit_s: The longest that a run may take; what a run reserves follows from it.
        memory_bytes: The most memory that a run may take; 0 means no limit.
        exceeded: What a run over its limits means: "failed" or "infeasible".
        resources: What a batch system is asked for.
    """

    spec: ProcedureSpec
    target: str | Command
    unit: str = "run"
    per_run: float = 1.0
    per_hour: float = 0.0
    time_limit_s: float = 600.0
    memory_bytes: int = 0
    exceeded: str = "failed"
    resources: Resources = field(default_factory=Resources)

    def reservation(self, parameters: Point) -> Quantity:
        """Return what a run at this point reserves: the most that it can be charged."""
        del parameters  # it costs the same everywhere
        return self._reservation

    @cached_property
    def _reservation(self) -> Quantity:
        return Quantity.of(self.per_run + self.per_hour * self.time_limit_s / 3600, self.unit)

    @property
    def is_for_users(self) -> bool:
        """Whether only users whom the site itself knows may ask for it, and no campaign."""
        return False

    def problems(self, parameters: Point) -> list[str]:
        """Return everything wrong with the parameters of a request, which `spec.complete` has filled."""
        return self.spec.problems(parameters)

    def charge(self, seconds: float, reserved: int, parameters: Point | None = None) -> int:
        """Return what a run of this length is charged, in millionths of the unit, never more than it `reserved`."""
        del parameters  # it costs the same everywhere
        if not self.per_hour:
            return reserved
        return min(reserved, Quantity.of(self.per_run + self.per_hour * seconds / 3600, self.unit).micro)

    def judged(self, end: JobEnd) -> JobEnd:
        """Return the end of a run as it counts for this procedure."""
        return end

    def problem(self, outputs: Mapping[str, float]) -> str:
        """Return what is wrong with the numbers that a run gave, or nothing."""
        for name, value in outputs.items():
            if not math.isfinite(value):
                return f"output '{name}' is {value}, not a finite number"
        missing = [output.name for output in self.spec.outputs if output.type != "file" and output.name not in outputs]
        return f"output '{missing[0]}' is missing" if missing else ""

    def describe(self, slots: int) -> Offer:
        """Return the offer as campaigns see it."""
        return Offer(self.spec.to_json(), self.unit, self.per_run, self.per_hour, self.time_limit_s, slots)

    def job(self, run: str, parameters: Point, directory: str) -> Job:
        """Return the job of a run."""
        return Job(
            run, self.spec.name, self.target, parameters, directory,
            self.time_limit_s, self.memory_bytes, self.exceeded, self.resources,
        )  # fmt: skip


def offer_of(row: RunRow, offers: Mapping[str, Offered]) -> Offered | None:
    """Return what a run was asked for, if that is still among the offers, which are by name."""
    offer = offers.get(row.procedure)
    return offer if offer is not None and offer.spec.version == row.version else None
