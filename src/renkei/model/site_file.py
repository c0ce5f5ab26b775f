"""What a site offers and how it runs it, as `site.toml` spells it."""

import string
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from renkei.model.fields import (
    AllocationUnit,
    Amount,
    Code,
    Distinct,
    Duration,
    FilePath,
    Identifier,
    Many,
    Name,
    PhysicalUnit,
    Scalar,
    Size,
    Text,
    Url,
    declares,
    new,
)
from renkei.model.files import Scope, Table, expected, mistakes, read_bytes, read_tables, read_toml, scope_of
from renkei.model.parameters import ParameterTable
from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.quantity import Quantity
from renkei.model.serving import (
    AccountTable,
    FacilityTable,
    IssuerTable,
    JobsTable,
    ResourceTable,
    ServeTable,
    TokenTable,
)
from renkei.model.space import Value

Exceeded = Literal["failed", "infeasible"]
"""What a run over its limits means."""

_OF_THE_RUN = ("directory", "run")
"""Placeholders that every command may use besides its parameters."""


def _one_of_two(per_run: float | None, info: ValidationInfo) -> float | None:
    if "per_hour" in info.data and (per_run is None) == (info.data["per_hour"] is None):
        raise expected("exactly one of per_hour and per_run")
    return per_run


class Charge(Table):
    """What a run is charged: so much an hour that it runs, or so much each time."""

    unit: AllocationUnit = Field(description="The allocation unit, for example node-hour.")
    per_hour: float | None = Field(default=None, ge=0, description="Units for every hour that a run takes.")
    per_run: Annotated[float | None, AfterValidator(_one_of_two)] = Field(
        default=None, ge=0, validate_default=True, description="Units for every run."
    )


def one_run() -> Charge:
    """Return the charge where none is given: one "run" each time."""
    return Charge(unit="run", per_run=1.0)


class SiteTable(Table):
    """[site]: which site this is."""

    name: Name = Field(description="Its name, as the agreement has it.")
    institution: Name = Field(description="The institution that runs it, as the agreement has it.")
    key: FilePath = Field(description="The file of the institution's secret key.")
    agreement: FilePath | None = Field(default=None, description="The agreement; left out in embedded use.")
    policy: FilePath | None = Field(default=None, description="A Cedar policy file; left out, the default policy.")
    data: FilePath = Field(
        default=Path("data"), validate_default=True, description="The folder of ledger, datasets and runs."
    )


def _only_for(*kinds: str) -> AfterValidator:
    """Return the check that only executors of these kinds say this."""

    def validate(value: object, info: ValidationInfo) -> object:
        kind = info.data.get("kind")
        if kind is not None and kind not in kinds:
            raise expected(f"nothing: an executor of kind {kind} does not have it")
        return value

    return AfterValidator(validate)


_of_a_batch_system = _only_for("slurm", "pbs", "pjm", "flux", "iri")
_of_iri = _only_for("iri")


class ExecutorTable(Table):
    """[executor]: what runs procedures."""

    kind: Literal["local", "slurm", "pbs", "pjm", "flux", "iri"] = Field(
        default="local", description="The engine: local (processes on this machine), slurm, pbs, pjm, flux or iri."
    )
    workers: int = Field(
        default=2, ge=1, le=100_000, description="How many runs at the same time; of a batch system, how many jobs."
    )
    memory_bytes: Size | None = Field(
        default=None, description="The most memory of a run whose procedure says nothing else, for example '2 GB'."
    )
    time_limit_s: Duration = Field(
        default=600.0, description="The longest that a run may take whose procedure says nothing else: '10 min'."
    )
    queue: Annotated[Text | None, _of_a_batch_system] = Field(
        default=None, description="The queue of runs whose procedure names none: Slurm's partition, PJM's group."
    )
    account: Annotated[Text | None, _of_a_batch_system] = Field(
        default=None, description="The account that jobs are charged to inside the batch system."
    )
    modules: Annotated[Many[Text], _of_a_batch_system] = Field(
        default=(), description="Environment modules that every job loads."
    )
    before: Annotated[Many[Text], _of_a_batch_system] = Field(
        default=(), description="Lines of shell that every job begins with."
    )
    after: Annotated[Many[Text], _of_a_batch_system] = Field(
        default=(), description="Lines of shell that every job ends with."
    )
    options: Annotated[Many[Text], _of_a_batch_system] = Field(
        default=(), description="Further options of the command that submits jobs, as they are."
    )
    python: Annotated[Text | None, _of_a_batch_system] = Field(
        default=None, description="The interpreter on the nodes, with renkei installed; left out, this one."
    )
    poll_s: Annotated[Duration, _of_a_batch_system] = Field(
        default=1.0, gt=0, description="How often the batch system is asked about all jobs at once."
    )
    url: Annotated[Url | None, _of_iri] = Field(default=None, description="Of kind iri: the facility's base URL.")
    resource: Annotated[Text | None, _of_iri] = Field(default=None, description="Of kind iri: the resource's id.")
    token: Annotated[FilePath | None, _of_iri] = Field(
        default=None, description="Of kind iri: the file that holds the access token, mode 600."
    )


class ResourcesTable(Table):
    """resources: what a run asks a batch system for."""

    nodes: int = Field(default=1, ge=1, le=1_000_000, description="How many nodes.")
    processes: int = Field(default=1, ge=1, le=100_000_000, description="How many processes, over all nodes.")
    cores: int = Field(default=1, ge=1, le=100_000, description="Cores for each process.")
    gpus: int = Field(default=0, ge=0, le=1000, description="GPUs for each process.")
    memory: Size | None = Field(default=None, description="Memory on each node: '8 GB'.")
    exclusive: bool = Field(default=False, description="Whether nobody else may use its nodes meanwhile.")
    queue: Text | None = Field(default=None, description="The queue; left out, the executor's.")
    account: Text | None = Field(default=None, description="The account; left out, the executor's.")
    reservation: Text | None = Field(default=None, description="A reservation that was made for it.")


class Limits(Table):
    """What every entry that offers procedures may say about their runs."""

    charge: Charge = Field(default_factory=one_run, description="What a run is charged; left out, one 'run' each.")
    time_limit_s: Duration | None = Field(
        default=None, description="The longest that a run may take; left out, the executor's."
    )
    memory_bytes: Size | None = Field(
        default=None, description="The most memory that a run may take; left out, the executor's."
    )
    exceeded: Exceeded = Field(default="failed", description="What a run over its limits means: failed or infeasible.")
    resources: ResourcesTable = Field(
        default_factory=ResourcesTable,
        description="What a run asks a batch system for; left out, one core of one node.",
    )


class ProcedureFile(Limits):
    """[[procedures]]: Python procedures that the site offers."""

    use: Code = Field(description="A module, or a .py file, with functions marked @procedure.")
    only: Distinct[Name] = Field(default=(), description="Which of its procedures; left out, all of them.")


def _below_run(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise expected("a path below the run's directory")
    return path


PathBelow = Annotated[Text, AfterValidator(_below_run)]
"""A path below a run's directory."""


def _only_for_files(path: str | None, info: ValidationInfo) -> str | None:
    if path is not None and info.data.get("type", "file") != "file":
        raise expected("no path: only an output of type file has one")
    return path


def _not_for_files(unit: str, info: ValidationInfo) -> str:
    if unit != "1" and info.data.get("type") == "file":
        raise expected("no unit: an output of type file has none")
    return unit


class OutputTable(Table):
    """One output of a command: a number, or a file that becomes a dataset."""

    type: Literal["real", "integer", "file"] = Field(default="real", description="What it is.")
    unit: Annotated[PhysicalUnit, AfterValidator(_not_for_files)] = Field(default="1", description="Its unit.")
    path: Annotated[PathBelow | None, AfterValidator(_only_for_files)] = Field(
        default=None, description="Where a file is written, below the run's directory; left out, the output's name."
    )


def _not_of_the_run(name: str) -> str:
    if name in _OF_THE_RUN:
        raise expected(f"another name: {{{name}}} stands for the run's own")
    return name


def _fill_in(command: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Check a command's placeholders, and have a program with a relative path start from the file's folder."""
    names = scope_of(info).names.get("placeholder")
    if names is not None:
        known = tuple(dict.fromkeys((*names, *_OF_THE_RUN)))
        if wrong := [line for part in command for line in _placeholders(part, known)]:
            raise mistakes(wrong)
    if "/" in command[0]:
        folder = str(scope_of(info).folder).replace("{", "{{").replace("}", "}}")
        return (str(Path(folder) / command[0]), *command[1:])
    return command


def _placeholders(part: str, names: tuple[str, ...]) -> list[str]:
    listed = ", ".join(f"{{{name}}}" for name in names)
    try:
        fields = [field for field in string.Formatter().parse(part) if field[1] is not None]
    except ValueError as error:
        return [f"found {part!r}, expected placeholders such as {{x}}, and {{{{ for a brace: {error}"]
    return [
        f"found {{{name}{f'!{conversion}' * bool(conversion)}{f':{form}' * bool(form)}}}, expected one of {listed}"
        for _, name, form, conversion in fields
        if name not in names or form or conversion
    ]


def _defaults(defaults: dict[str, Value], info: ValidationInfo) -> dict[str, Value]:
    tables: Mapping[str, ParameterTable] | None = info.data.get("parameters")
    if tables is None:
        return defaults
    wrong = [f"{name}: no such parameter" for name in defaults if name not in tables]
    for name, table in tables.items():
        if name in defaults and (problem := table.parameter(name).problem(defaults[name])):
            wrong.append(problem)
    if wrong:
        raise mistakes(wrong)
    return defaults


class CommandFile(Limits):
    """[[commands]]: a program of any kind that the site offers as a procedure."""

    name: Annotated[Name, new("command")] = Field(description="The procedure's name, area first.")
    version: Text = Field(description="A new version for every change of meaning.")
    summary: str = Field(default="", description="One line for people.")
    kind: Literal["simulation", "measurement", "inference"] = Field(default="simulation", description="What it is.")
    parameters: Annotated[
        dict[Annotated[Identifier, AfterValidator(_not_of_the_run)], ParameterTable], declares("placeholder")
    ] = Field(
        default_factory=dict[str, ParameterTable], validate_default=True, description="What it takes: parameters.NAME."
    )
    defaults: Annotated[dict[str, Scalar], AfterValidator(_defaults)] = Field(
        default_factory=dict[str, Value], description="Parameters that may be left out, and what they then are."
    )
    outputs: dict[Identifier, OutputTable] = Field(min_length=1, description="What it gives: outputs.NAME.")
    command: Annotated[Many[Text], AfterValidator(_fill_in)] = Field(
        min_length=1,
        description="Program and arguments: {NAME} stands for a parameter, {directory} and {run} for those of the run.",
    )
    outputs_file: PathBelow = Field(
        default="outputs.json", description="The JSON object of numbers that it writes, below the run's directory."
    )
    infeasible_exit_codes: Distinct[Annotated[int, Field(ge=1, le=255)]] = Field(
        default=(), description="Exit codes that mean that the point cannot work."
    )

    @property
    def spec(self) -> ProcedureSpec:
        """The procedure that the command is."""
        return ProcedureSpec(
            name=self.name,
            version=self.version,
            summary=self.summary,
            kind=self.kind,
            parameters=tuple(table.parameter(name) for name, table in self.parameters.items()),
            defaults=self.defaults,
            outputs=tuple(Output(name, table.unit, table.type) for name, table in self.outputs.items()),
        )

    @property
    def files(self) -> dict[str, str]:
        """Where outputs that are files are written, below the run's directory, by output."""
        return {name: table.path or name for name, table in self.outputs.items() if table.type == "file"}


def _once(quantity: Quantity, info: ValidationInfo) -> Quantity:
    team = info.data.get("team")
    if team is not None and not scope_of(info).is_new("allocation", (team, quantity.unit)):
        raise expected(f"one allocation for each team and unit, but {team} has another one in {quantity.unit}")
    return quantity


class AllocationFile(Table):
    """[[allocations]]: what a team may use at the site."""

    team: Name = Field(description="The team.")
    quantity: Annotated[Amount, AfterValidator(_once)] = Field(description="How much, for example '40 node-hour'.")


class SiteFile(Table):
    """site.toml."""

    site: SiteTable = Field(description="The table [site].")
    executor: ExecutorTable = Field(default_factory=ExecutorTable, description="The table [executor].")
    procedures: Many[ProcedureFile] = Field(default=(), description="Tables [[procedures]].")
    commands: Many[CommandFile] = Field(default=(), description="Tables [[commands]].")
    allocations: Many[AllocationFile] = Field(default=(), description="Tables [[allocations]].")
    serve: ServeTable | None = Field(default=None, description="The table [serve]: how partners reach the site.")
    tokens: Many[TokenTable] = Field(default=(), description="Tables [[tokens]]: users known by a static token.")
    issuers: Many[IssuerTable] = Field(default=(), description="Tables [[issuers]]: whose OIDC tokens are taken.")
    accounts: Many[AccountTable] = Field(default=(), description="Tables [[accounts]]: who a token stands for here.")
    facility: FacilityTable | None = Field(default=None, description="The table [facility]: the site as IRI shows it.")
    resources: Many[ResourceTable] = Field(default=(), description="Tables [[resources]]: what IRI shows.")
    jobs: JobsTable | None = Field(default=None, description="The table [jobs]: jobs through the IRI API.")


def parse_site(text: bytes | str, source: str = "site.toml", *, folder: Path = Path()) -> SiteFile:
    """Return the site that a file describes.

    Args:
        text: What is in the file.
        source: What to call it in errors.
        folder: What relative paths start from.

    Raises:
        ConfigError: Lists every mistake in it.
    """
    raw = read_toml(text, source)
    return read_tables(SiteFile, raw, source, Scope(folder=folder, raw=raw))


def load_site(path: Path) -> SiteFile:
    """Return the site that the file at `path` describes; relative paths start from the file's folder.

    Raises:
        ConfigError: It cannot be read, or lists every mistake in it.
    """
    return parse_site(read_bytes(path), str(path), folder=path.absolute().parent)
