"""Jobs: any program that a user whom the site knows wants to run, as one more procedure that is on offer.

A job is described by PSI/J's JobSpec, as the DOE IRI Facility API has it. It travels as JSON text, the parameter "spec"
of the procedure `iri.job`, and goes the way of every run: policy, reservation, executor, charge.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from renkei.executors import Command, Job, JobEnd, Resources
from renkei.model.procedure import ProcedureSpec
from renkei.model.quantity import Quantity
from renkei.model.serving import JobsTable
from renkei.model.space import Point
from renkei.site._offer import Offered

JOB = "iri.job"
"""The name of the procedure that jobs are runs of."""
DURATION_S = 600
"""How long a job may take that does not say it: PSI/J's own."""

_MOST = 1_000_000
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Filled = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]


class ResourceSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job needs; fields as in the interface document, memory in bytes."""

    node_count: Count | None = None
    process_count: Count | None = None
    processes_per_node: Count | None = None
    cpu_cores_per_process: Count | None = None
    gpu_cores_per_process: Count | None = None
    exclusive_node_use: bool = True
    memory: Count | None = None
    attributes: dict[str, Any] | None = None

    @property
    def nodes(self) -> int:
        """How many nodes."""
        if self.node_count is None and self.process_count is not None and self.processes_per_node is not None:
            return -(-self.process_count // self.processes_per_node)
        return self.node_count or 1

    @property
    def processes(self) -> int:
        """How many processes, over all nodes."""
        return self.process_count or self.nodes * (self.processes_per_node or 1)


class JobAttributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a job is scheduled; the duration in seconds."""

    duration: Count | None = None
    queue_name: Filled | None = None
    account: Filled | None = None
    reservation_id: Filled | None = None
    custom_attributes: dict[str, str] = {}
    attributes: dict[str, Any] | None = None


class VolumeMount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A folder that a container sees."""

    source: Filled
    target: Filled
    read_only: bool = True
    attributes: dict[str, Any] | None = None


class Container(msgspec.Struct, frozen=True, omit_defaults=True):
    """A container that a job runs in."""

    image: Filled
    volume_mounts: tuple[VolumeMount, ...] = ()
    attributes: dict[str, Any] | None = None


class JobSpec(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A job, with the fields of the interface document."""

    attributes: JobAttributes | None = None
    executable: Filled | None = None
    container: Container | None = None
    arguments: tuple[str, ...] = ()
    directory: Filled | None = None
    name: Filled | None = None
    inherit_environment: bool = True
    environment: dict[str, str] = {}
    stdin_path: Filled | None = None
    stdout_path: Filled | None = None
    stderr_path: Filled | None = None
    resources: ResourceSpec | None = None
    pre_launch: Filled | None = None
    post_launch: Filled | None = None
    launcher: Filled | None = None

    @property
    def needs(self) -> ResourceSpec:
        """Its resources, or what a job has that names none."""
        return self.resources or _PLAIN

    @property
    def how(self) -> JobAttributes:
        """Its attributes, or what a job has that names none."""
        return self.attributes or _USUAL

    @property
    def duration_s(self) -> int:
        """The longest that it may take."""
        return self.how.duration or DURATION_S


_PLAIN, _USUAL = ResourceSpec(), JobAttributes()


@lru_cache(maxsize=256)
def read_job_spec(text: str) -> JobSpec:
    """Return the job that a JSON text describes.

    Raises:
        msgspec.DecodeError: It is not a JobSpec; says where.
    """
    return msgspec.json.decode(text, type=JobSpec)


def job_problems(spec: JobSpec, table: JobsTable) -> dict[str, str]:
    """Return why a site cannot run a job: what is wrong, by the field that is to blame.

    Args:
        spec: The job.
        table: What the site says of jobs.
    """
    how, needs = spec.how, spec.needs
    wrong: dict[str, str] = {}
    if spec.container is not None:
        wrong["container"] = "this site runs no containers"
    if spec.executable is None:
        wrong["executable"] = "a job needs one"
    if spec.duration_s > table.time_limit_s:
        wrong["attributes.duration"] = f"a job may take {table.time_limit_s:g} s at most"
    if how.queue_name is not None and table.queues and how.queue_name not in table.queues:
        wrong["attributes.queue_name"] = f"the queues here are {', '.join(table.queues)}"
    for name in ("node_count", "process_count", "processes_per_node", "cpu_cores_per_process", "gpu_cores_per_process"):
        if (getattr(needs, name) or 0) > _MOST:
            wrong[f"resources.{name}"] = f"at most {_MOST} are possible"
    if (needs.memory or 0) >= 1 << 60:
        wrong["resources.memory"] = "no node has as much"
    per_node = needs.processes_per_node or 0
    if needs.node_count and needs.process_count and per_node and needs.process_count != needs.node_count * per_node:
        wrong["resources.process_count"] = "it is not node_count times processes_per_node"
    lines = {"queue_name": how.queue_name, "reservation_id": how.reservation_id, **how.custom_attributes}
    for name, text in lines.items():
        if text is not None and (_CONTROL.search(text) or text.startswith("-")):
            wrong[f"attributes.{name}"] = "it must be one line and not begin with a dash"
    for name in how.custom_attributes:
        if not _OPTION.fullmatch(name):
            wrong[f"attributes.custom_attributes.{name[:40]}"] = "no option is called that"
    for name in spec.environment:
        if not name or "=" in name or "\0" in name:
            wrong[f"environment.{name[:40]}"] = "no variable can be called that"
    if "\0" in "".join((*_texts(spec), *spec.arguments, *spec.environment.values())):
        wrong["body"] = "no text in it may hold the character NUL"
    return wrong


def _texts(spec: JobSpec) -> list[str]:
    fields = (
        spec.executable, spec.directory, spec.name, spec.stdin_path, spec.stdout_path, spec.stderr_path,
        spec.pre_launch, spec.post_launch, spec.launcher,
    )  # fmt: skip
    return [text for text in fields if text is not None]


@dataclass(frozen=True, kw_only=True)
class JobOffer(Offered):
    """Jobs on offer.

    Args:
        table: What the site says of jobs.
        queue: The queue of a job that names none; "" leaves it to the batch system.
        account: The account inside the batch system; "" leaves it to the batch system.
    """

    table: JobsTable
    queue: str = ""
    account: str = ""

    @property
    def is_for_users(self) -> bool:
        """Only for users whom the site knows: it runs whatever they name."""
        return True

    def problems(self, parameters: Point) -> list[str]:
        """See `Offered.problems`."""
        if found := self.spec.problems(parameters):
            return found
        try:
            spec = _job_of(parameters)
        except (msgspec.DecodeError, RecursionError) as error:
            return [f"spec: {error}"]
        return [f"{name}: {reason}" for name, reason in job_problems(spec, self.table).items()]

    def reservation(self, parameters: Point) -> Quantity:
        """Return nodes times duration times the price of a node's hour."""
        spec = _job_of(parameters)
        return Quantity.of(self.table.per_node_hour * spec.needs.nodes * spec.duration_s / 3600, self.unit)

    def charge(self, seconds: float, reserved: int, parameters: Point | None = None) -> int:
        """Return what the time that a job took costs on all of its nodes."""
        if parameters is None:
            return reserved
        nodes = _job_of(parameters).needs.nodes
        return min(reserved, Quantity.of(self.table.per_node_hour * nodes * seconds / 3600, self.unit).micro)

    def judged(self, end: JobEnd) -> JobEnd:
        """Return the end of a job: what its program does is its user's fault and no more than that."""
        code = None if end.evidence is None else end.evidence.exit_code
        if end.outcome not in ("failed", "infeasible") or code in (None, 0):
            return end
        return msgspec.structs.replace(end, outcome="failed", fault="requester", retryable=False)

    def job(self, run: str, parameters: Point, directory: str) -> Job:
        """Return the job of a run."""
        spec = _job_of(parameters)
        needs, how = spec.needs, spec.how
        command = Command(
            (spec.executable or "", *spec.arguments),
            is_literal=True,
            directory=spec.directory or "",
            environment=spec.environment,
            is_clean=not spec.inherit_environment,
            stdin=spec.stdin_path or "",
            stdout=spec.stdout_path or "",
            stderr=spec.stderr_path or "",
            before=tuple((spec.pre_launch or "").splitlines()),
            after=tuple((spec.post_launch or "").splitlines()),
            launcher="" if spec.launcher in (None, "single") else spec.launcher,
        )
        resources = Resources(
            needs.nodes, needs.processes, needs.cpu_cores_per_process or 1, needs.gpu_cores_per_process or 0,
            needs.memory or 0, needs.exclusive_node_use, how.queue_name or self.queue, self.account,
            how.reservation_id or "", how.custom_attributes,
        )  # fmt: skip
        limit = float(math.ceil(spec.duration_s))
        return Job(run, JOB, command, {}, directory, limit, needs.memory or 0, self.exceeded, resources)


def _job_of(parameters: Mapping[str, object]) -> JobSpec:
    return read_job_spec(str(parameters["spec"]))


def job_offer(table: JobsTable, queue: str = "", account: str = "") -> JobOffer:
    """Return the offer of a site that takes jobs.

    Args:
        table: What the site says of jobs.
        queue: The queue of a job that names none.
        account: The account inside the batch system.
    """
    spec = ProcedureSpec(JOB, "1", "A job of a user, as a PSI/J JobSpec.", (), (), texts=("spec",))
    return JobOffer(
        spec, Command(()), table.unit, 0.0, 0.0, table.time_limit_s, table=table, queue=queue, account=account
    )
