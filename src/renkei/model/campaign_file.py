"""Reading a campaign from `campaign.toml`."""

import hashlib
import math
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar, cast

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from renkei.errors import ConfigError
from renkei.model.campaign import Baseline, Campaign, LocalSite, PlannerChoice, Source, Stop
from renkei.model.fields import Many, Name, PhysicalUnit, Text, declares, new
from renkei.model.files import (
    Scope,
    Table,
    as_table,
    expected,
    mistakes,
    read_bytes,
    read_tables,
    read_toml,
    scope_of,
)
from renkei.model.parameters import ParameterConstraintTable, ParameterTable, remember
from renkei.model.pool import PoolReference, is_reference, read_pool, restricted
from renkei.model.space import Constraint, Objective, ParameterConstraint, Space


def _has_pool(space: object) -> bool:
    return isinstance(as_table(space).get("pool"), str)


def _ends(stop: Stop, info: ValidationInfo) -> Stop:
    if info.context is None or stop.is_bounded or _has_pool(scope_of(info).raw.get("space")):
        return stop
    raise expected("at least one of trials, wall and cost")


class CampaignTable(Table):
    """[campaign]: what the campaign is called and when it ends."""

    name: Name = Field(description="Its name.")
    title: str = Field(default="", description="Its title for people.")
    team: Name = Field(default="local", description="Who searches.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Same seed and same observations, same points.")
    purpose: Name = Field(default="open-research", description="What it is for; policies decide by it.")
    release: Name = Field(default="open", description="The label that says who may see its results.")
    retries: int = Field(default=3, ge=0, description="How often a trial is tried again after faults.")
    stop: Annotated[Stop, AfterValidator(_ends)] = Field(
        default_factory=Stop, validate_default=True, description="When it ends; a pool also ends when it is exhausted."
    )


def _pool(value: object, info: ValidationInfo) -> Space | PoolReference:
    scope = scope_of(info)
    units: dict[str, str] = info.data.get("units", {})
    text = str(value)
    if is_reference(text):
        return PoolReference(text, units)
    if text.startswith("python:"):
        raise expected("a CSV file, or 'python:module:function'")
    try:
        space = read_pool(scope.folder / text, units)
    except ConfigError as error:
        raise mistakes(f"{text}: {line}" for line in error.mistakes) from error
    remember(space.parameters, info)
    return space


class PoolTable(Table):
    """[space] of a campaign that picks from a library of samples."""

    units: dict[str, PhysicalUnit] = Field(
        default_factory=dict[str, str], description="Units of the pool's parameters, where they have any."
    )
    pool: Annotated[Space | PoolReference, PlainValidator(_pool)] = Field(
        description="A CSV file whose first row names the parameters, or 'python:module:function'."
    )


def _remembered(tables: dict[str, ParameterTable], info: ValidationInfo) -> dict[str, ParameterTable]:
    remember(tuple(table.parameter(name) for name, table in tables.items()), info)
    return tables


ParameterTables = Annotated[
    dict[Text, ParameterTable], declares("parameter"), Field(min_length=1), AfterValidator(_remembered)
]
"""[space] of a campaign that searches every combination: a table for each parameter."""


def _target_fits(target: float | None, info: ValidationInfo) -> float | None:
    if "goal" in info.data:
        if target is None and info.data["goal"] == "target":
            raise expected("the value to come near to")
        if target is not None and info.data["goal"] in ("minimize", "maximize"):
            raise expected("no target beside goal = 'minimize' or 'maximize'")
        if target is None and info.data["goal"] is None:
            raise expected("a target, or goal = 'minimize' or 'maximize'")
    return target


def _reach_fits(reach: float | None, info: ValidationInfo) -> float | None:
    if reach is not None and reach < 0 and info.data.get("target") is not None:
        raise expected("a distance from the target, 0 or more")
    return reach


class ObjectiveTable(Table):
    """[[objective]]: what to reach for in one output."""

    output: Annotated[Text, new("objective")] = Field(description="The output.")
    goal: Literal["minimize", "maximize", "target"] | None = Field(
        default=None, description="Minimize, maximize or target; left out where target is given."
    )
    target: Annotated[float | None, AfterValidator(_target_fits)] = Field(
        default=None, validate_default=True, description="The value to come near to."
    )
    reach: Annotated[float | None, AfterValidator(_reach_fits)] = Field(
        default=None, description="The discovery: an output at least as good, or at most this far from the target."
    )
    unit: PhysicalUnit = Field(default="1", description="The unit of output, target and reach.")

    def objective(self) -> Objective:
        """Return the objective that this describes."""
        return Objective(self.output, self.goal or "target", self.target, self.reach, self.unit)


def _some_bound(upper: float | None, info: ValidationInfo) -> float | None:
    if "lower" in info.data:
        lower = info.data["lower"]
        if upper is None and lower is None:
            raise expected("lower, upper or both")
        if upper is not None and lower is not None and upper < lower:
            raise expected(f"lower ({lower:g}) or more")
    return upper


def _unit_fits(unit: str | None, info: ValidationInfo) -> str | None:
    """Let a constraint on an objective's output have the objective's unit, and no other."""
    objectives: object = scope_of(info).raw.get("objective")
    for table in cast("list[object]", objectives) if isinstance(objectives, list) else []:
        if "output" in info.data and as_table(table).get("output") == info.data["output"]:
            wanted: str = as_table(table).get("unit", "1")
            if unit is not None and unit != wanted:
                raise expected(f"'{wanted}', the unit of the objective on this output")
            return wanted
    return unit


class ConstraintTable(Table):
    """[[constraint]]: what an output must satisfy. It need not be the output of an objective."""

    output: Annotated[Text, new("constraint")] = Field(description="The output.")
    lower: float | None = Field(default=None, description="The least that is good enough.")
    upper: Annotated[float | None, AfterValidator(_some_bound)] = Field(
        default=None, validate_default=True, description="The most that is good enough."
    )
    unit: Annotated[PhysicalUnit | None, AfterValidator(_unit_fits)] = Field(
        default=None,
        validate_default=True,
        description="The unit of output and bounds; left out, the objective's, or 1.",
    )

    def constraint(self) -> Constraint:
        """Return the constraint that this describes."""
        lower = -math.inf if self.lower is None else float(self.lower)
        upper = math.inf if self.upper is None else float(self.upper)
        return Constraint(self.output, lower, upper, self.unit or "1")


def _told_apart(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Refuse sources that a planner could not choose among."""
    if all(source.counts for source in sources):
        return sources
    labels = [source.label for source in sources]
    wrong = [
        f"found several of name '{label}', expected another for each where some do not count"
        for label in dict.fromkeys(labels)
        if labels.count(label) > 1
    ]
    if not any(source.counts for source in sources):
        wrong.append("found none that counts, expected at least one")
    priced = [source.price is not None for source in sources]
    if any(priced) and not all(priced):
        wrong.append(f"found no price of '{labels[priced.index(False)]}', expected a price of each source, or of none")
    if wrong:
        raise mistakes(wrong)
    return sources


S = TypeVar("S")


class CampaignFile(Table, Generic[S]):
    """campaign.toml."""

    campaign: CampaignTable = Field(description="The table [campaign].")
    space: S = Field(description="The table [space].")
    parameter_constraint: Many[ParameterConstraintTable] = Field(
        default=(), description="Tables [[parameter_constraint]]; points of a pool that break one are left out."
    )
    objective: Many[ObjectiveTable] = Field(min_length=1, description="Tables [[objective]].")
    constraint: Many[ConstraintTable] = Field(default=(), description="Tables [[constraint]].")
    source: Annotated[Many[Source], AfterValidator(_told_apart)] = Field(
        default=(), description="Tables [[source]]; a campaign whose trials you run yourself (ask and tell) needs none."
    )
    planner: PlannerChoice = Field(default_factory=PlannerChoice, description="The table [planner].")
    baseline: Baseline | None = Field(default=None, description="The table [baseline].")
    sites: dict[Name, LocalSite] = Field(default_factory=dict[str, LocalSite], description="Tables [sites.NAME].")


def parse_campaign(text: bytes | str, source: str = "campaign.toml", *, folder: Path = Path()) -> Campaign:
    """Return the campaign that a file describes.

    A pool in a CSV file is read; one in a package is left to `Campaign.resolved`, since finding it runs code.

    Args:
        text: What is in the file.
        source: What to call it in errors.
        folder: What relative paths start from.

    Raises:
        ConfigError: Lists every mistake in it.
    """
    raw = read_toml(text, source)
    scope = Scope(folder=folder, raw=raw)
    if _has_pool(raw.get("space")):
        return _campaign(read_tables(CampaignFile[PoolTable], raw, source, scope), text, source)
    return _campaign(read_tables(CampaignFile[ParameterTables], raw, source, scope), text, source)


def load_campaign(path: Path) -> Campaign:
    """Return the campaign that the file at `path` describes, resolved; relative paths start from the file's folder.

    Raises:
        ConfigError: It cannot be read, or lists every mistake in it.
        UsageError: See `Campaign.resolved`.
    """
    return parse_campaign(read_bytes(path), str(path), folder=path.absolute().parent).resolved()


def _campaign(
    file: "CampaignFile[PoolTable] | CampaignFile[dict[str, ParameterTable]]",  # in quotes: naming them builds them
    text: bytes | str,
    source: str,
) -> Campaign:
    space, pool = _space(file.space, tuple(table.constraint() for table in file.parameter_constraint), source)
    content = text if isinstance(text, bytes) else text.encode()
    head = file.campaign
    return Campaign(
        name=head.name,
        title=head.title,
        team=head.team,
        seed=head.seed,
        purpose=head.purpose,
        release=head.release,
        retries=head.retries,
        stop=head.stop,
        space=space,
        pool=pool,
        objectives=tuple(table.objective() for table in file.objective),
        constraints=tuple(table.constraint() for table in file.constraint),
        sources=file.source,
        planner=file.planner,
        baseline=file.baseline,
        sites=file.sites,
        text=content.decode("utf-8-sig"),
        digest=hashlib.sha256(content).hexdigest(),
    )


def _space(
    table: PoolTable | dict[str, ParameterTable], constraints: tuple[ParameterConstraint, ...], source: str
) -> tuple[Space, PoolReference | None]:
    if isinstance(table, dict):
        return Space(tuple(entry.parameter(name) for name, entry in table.items()), constraints=constraints), None
    if isinstance(table.pool, PoolReference):
        return Space((), (), constraints), table.pool
    return restricted(table.pool, constraints, source), None
