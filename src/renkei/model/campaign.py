"""A campaign: what it searches, what for, where its trials may run, and when it ends."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, ValidationInfo

from renkei.errors import did_you_mean
from renkei.model.fields import (
    Amount,
    Code,
    Distinct,
    Duration,
    FilePath,
    Name,
    OneOrMore,
    Scalar,
    Size,
    Text,
)
from renkei.model.files import Table, expected, key_of, mistakes, scope_of
from renkei.model.pool import PoolReference, resolve_pool, restricted
from renkei.model.procedure import NAME
from renkei.model.quantity import Quantity
from renkei.model.site_file import Charge, one_run
from renkei.model.space import (
    Constraint,
    Objective,
    Space,
    Value,
    parameter_constraint_from_json,
    parameter_constraint_to_json,
    parameter_from_json,
    parameter_to_json,
)


def _one_per_unit(cost: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
    units = [quantity.unit for quantity in cost]
    if len(set(units)) < len(units):
        raise expected("one quantity for each unit")
    return cost


class Stop(Table):
    """When a campaign ends: at whichever comes first."""

    trials: int | None = Field(default=None, ge=1, description="After so many trials.")
    wall_s: Duration | None = Field(default=None, description="After so much time, for example '2 h'.")
    cost: Annotated[OneOrMore[Amount], AfterValidator(_one_per_unit)] = Field(
        default=(),
        description="Once it was charged so much, for example '40 node-hour', or a list with one for each unit.",
    )
    reached: bool = Field(default=True, description="Whether reaching every objective that has a reach ends it.")

    @property
    def is_bounded(self) -> bool:
        """Whether it ends even if it reaches nothing."""
        return self.trials is not None or self.wall_s is not None or bool(self.cost)


def _targets(rename: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    fixed: Mapping[str, Value] = info.data.get("fixed", {})
    known = scope_of(info).names.get("parameter", rename)
    wrong = [
        f"{name}: found an unknown parameter, expected one of [space].{did_you_mean(name, known)}"
        for name in rename
        if name not in known
    ]
    wrong += [
        f"{old}: found '{name}', expected one that is not fixed, too" for old, name in rename.items() if name in fixed
    ]
    targets = list(rename.values())
    wrong += [
        f"{old}: found '{name}', expected another name for each parameter"
        for i, (old, name) in enumerate(rename.items())
        if name in targets[:i]
    ]
    if wrong:
        raise mistakes(wrong)
    return rename


class Source(Table):
    """[[source]]: a procedure that trials may run. Several sources are fidelities of one truth."""

    procedure: Name = Field(description="The procedure's name.")
    name: Name | None = Field(default=None, description="What to call the source; left out, as its procedure.")
    counts: bool = Field(
        default=True,
        description="Whether its results are what the campaign is after. Those of a source that does not count only "
        "inform the planner, which then chooses the source of every trial.",
    )
    price: float | None = Field(
        default=None,
        gt=0,
        description="What a trial is charged, in one unit for all sources; left out, what sites reserve for a run.",
    )
    parallel: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Where the planner chooses the source: at most so many trials there at the same time, for example "
        "as many as its instruments work on. Left out, any number.",
    )
    version: Text | None = Field(default=None, description="Its version; left out, any.")
    sites: Distinct[Name] = Field(default=(), description="The sites that may run it; left out, any that offers it.")
    fixed: dict[str, Scalar] = Field(
        default_factory=dict[str, Value], description="Parameters of the procedure that stay as they are, in its units."
    )
    rename: Annotated[dict[str, Text], AfterValidator(_targets)] = Field(
        default_factory=dict[str, str], description="What the procedure calls parameters of the campaign."
    )

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or self.procedure


def _warm(value: object, info: ValidationInfo) -> Path | str:
    if isinstance(value, Path) or (isinstance(value, str) and "/" in value):
        return scope_of(info).folder / value
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise expected("the name of a campaign, or a path with a '/' in it")


Warm = Annotated[Path | str, PlainValidator(_warm), PlainSerializer(str)]
"""An earlier campaign: its name, or where it lies (`Path`)."""


class PlannerChoice(Table):
    """[planner]: what proposes points."""

    name: Name = Field(default="bayesian", description="The planner's name.")
    parallel: int = Field(default=4, ge=1, le=4096, description="How many trials at the same time.")
    warm: Distinct[Warm] = Field(
        default=(), description="Earlier campaigns to learn from: names, or paths with a '/' in them."
    )
    options: dict[str, Any] = Field(default_factory=dict[str, Any], description="The planner's own settings.")


class Baseline(Table):
    """[baseline]: what acceleration is measured against."""

    planner: Literal["sobol", "random", "same"] = Field(
        default="sobol", description="The planner to compare with; same: the campaign's own, which learns."
    )
    sites: Literal["all", "single"] = Field(
        default="all",
        description="All of the campaign's sites; or each single one alone, of which the best in hindsight counts.",
    )
    when: Literal["after", "beside"] = Field(
        default="after",
        description="After the campaign, one at a time at a site; or beside it, where both share the sites' hours.",
    )
    trials: int | None = Field(default=None, ge=1, description="How many trials it may take; left out, as many.")
    replicates: int | None = Field(
        default=None, ge=1, description="How often it is repeated with other seeds; left out, once, and same 5 times."
    )

    @property
    def learns(self) -> bool:
        """Whether its trials build on each other, so that a whole campaign of it is one sample."""
        return self.planner == "same"

    @property
    def title(self) -> str:
        """What it is called."""
        if self.sites == "single":
            return "best single site" if self.learns else f"{self.planner} at the best single site"
        return "the same campaign run again" if self.learns else self.planner

    @property
    def n_replicates(self) -> int:
        """How often it is repeated, at each single site if it is at single ones."""
        return self.replicates or (5 if self.learns else 1)


def _alone(site: Path | None, info: ValidationInfo) -> Path | None:
    fields = LocalSite.model_fields
    given = [
        key_of(name)
        for name, value in info.data.items()
        if value != fields[name].get_default(call_default_factory=True)
    ]
    if site is not None and given:
        raise expected(f"no other key beside it, but there is {', '.join(given)}")
    if site is None and info.data.get("procedures") == ():
        raise expected("either procedures or a site.toml")
    return site


class LocalSite(Table):
    """[sites.NAME]: a site that runs on this machine for as long as the campaign does."""

    procedures: OneOrMore[Code] = Field(default=(), description="Modules or .py files with procedures, or one of them.")
    workers: int = Field(default=2, ge=1, le=4096, description="How many runs at the same time.")
    allocation: Amount | None = Field(default=None, description="What the campaign's team may use; left out, no limit.")
    charge: Charge = Field(default_factory=one_run, description="What a run is charged; left out, one 'run' each.")
    policy: FilePath | None = Field(default=None, description="A Cedar policy file; left out, the default policy.")
    time_limit_s: Duration = Field(default=600.0, description="The longest that a run may take, for example '60 s'.")
    memory_bytes: Size | None = Field(default=None, description="The most memory that a run may take.")
    site: Annotated[FilePath | None, AfterValidator(_alone)] = Field(
        default=None, validate_default=True, description="A site.toml that describes it instead of all other keys."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A closed-loop search.

    Args:
        name: Its name.
        space: What it searches; without parameters until `resolved`, if `pool` refers to a package.
        objectives: What to reach for, at least one, each in another output.
        sources: Where its trials may run, at least one.
        title: Its title for people; may be empty.
        team: Who searches.
        seed: Same seed and same observations, same points.
        purpose: What it is for; policies decide by it.
        release: The label that says who may see its results.
        retries: How often a trial is tried again after faults.
        stop: When it ends.
        constraints: What outputs must satisfy, each another output.
        planner: What proposes points.
        baseline: What acceleration is measured against, if it is.
        sites: Sites that run with it on this machine, by name.
        pool: The package that its points come from, if they do.
        text: Its file as written; empty if it was built in code.
        digest: SHA-256 of the file in hex; empty if it was built in code.
    """

    name: str
    space: Space
    objectives: tuple[Objective, ...]
    sources: tuple[Source, ...]
    title: str = ""
    team: str = "local"
    seed: int = 0
    purpose: str = "open-research"
    release: str = "open"
    retries: int = 3
    stop: Stop = field(default_factory=Stop)
    constraints: tuple[Constraint, ...] = ()
    planner: PlannerChoice = field(default_factory=PlannerChoice)
    baseline: Baseline | None = None
    sites: Mapping[str, LocalSite] = field(default_factory=dict[str, LocalSite])
    pool: PoolReference | None = None
    text: str = ""
    digest: str = ""

    @property
    def chooses(self) -> bool:
        """Whether the planner chooses the source of every trial, because not every source counts."""
        return not all(source.counts for source in self.sources)

    def resolved(self) -> "Campaign":
        """Return the campaign with the points of its package; itself if its space is there already.

        Raises:
            UsageError: See `resolve_pool`.
            ConfigError: See `resolve_pool` and `restricted`.
        """
        if self.pool is None or self.space.parameters:
            return self
        space = restricted(resolve_pool(self.pool), self.space.constraints, self.pool.reference)
        return dataclasses.replace(self, space=space)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: every field but `text`; units of quantities in words, a bound that is open as null."""
        return {
            "name": self.name,
            "title": self.title,
            "team": self.team,
            "seed": self.seed,
            "purpose": self.purpose,
            "release": self.release,
            "retries": self.retries,
            "stop": self.stop.model_dump(mode="json"),
            "space": space_to_json(self.space),
            "objectives": [dataclasses.asdict(objective) for objective in self.objectives],
            "constraints": [_constraint_to_json(constraint) for constraint in self.constraints],
            "sources": [source.model_dump(mode="json") for source in self.sources],
            "planner": self.planner.model_dump(mode="json"),
            "baseline": self.baseline.model_dump(mode="json") if self.baseline else None,
            "sites": {name: site.model_dump(mode="json") for name, site in self.sites.items()},
            "pool": dataclasses.asdict(self.pool) if self.pool else None,
            "digest": self.digest,
        }


def space_to_json(space: Space) -> dict[str, Any]:
    """Return a space as plain JSON: parameters, constraints, and a pool's points as rows in the parameters' order."""
    names = space.names
    return {
        "parameters": [parameter_to_json(parameter) for parameter in space.parameters],
        "pool": None if space.pool is None else [[point[name] for name in names] for point in space.pool],
        "constraints": [parameter_constraint_to_json(constraint) for constraint in space.constraints],
    }


def space_from_json(data: Mapping[str, Any]) -> Space:
    """Return the space that `space_to_json` wrote; one of an earlier version has no constraints."""
    parameters = tuple(parameter_from_json(parameter) for parameter in data["parameters"])
    names = [parameter.name for parameter in parameters]
    rows = data["pool"]
    pool = None if rows is None else tuple(dict(zip(names, row, strict=True)) for row in rows)
    return Space(parameters, pool, tuple(parameter_constraint_from_json(c) for c in data.get("constraints", ())))


def _constraint_to_json(constraint: Constraint) -> dict[str, Any]:
    bounds = {"lower": constraint.lower, "upper": constraint.upper}
    finite = {key: bound if math.isfinite(bound) else None for key, bound in bounds.items()}
    return dataclasses.asdict(constraint) | finite
