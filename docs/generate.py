"""Writes the reference pages that come from code into docs/reference. `make docs` runs it; a test compares."""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from http import HTTPStatus
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types
import msgspec

import renkei
import renkei.science
from renkei.api import _protocol, _server
from renkei.api._document import document
from renkei.api._problems import HttpError
from renkei.api.iri import _compute
from renkei.cli import VARIABLES, root
from renkei.cli._errors import EXTRAS
from renkei.errors import Infeasible, RenkeiError
from renkei.executors import flux, iri, pbs, pjm, procedures_in, slurm
from renkei.executors._scheduler import UNKNOWN, Meaning
from renkei.federation import http
from renkei.model import agreement, campaign, campaign_file, fields, records, site_file
from renkei.model.files import Table
from renkei.model.procedure import Procedure
from renkei.model.quantity import Quantity
from renkei.model.space import Choice, Parameter
from renkei.policy import DEFAULT_POLICY
from renkei.sim import _scenario
from renkei.units import ALLOCATION_UNITS

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code. Do not edit: change the code, then run `make docs`. -->"

_HANDED_OVER = ("space", "objectives", "constraints", "sources", "seed", "warm")
"""What a campaign hands to every planner; the rest of a planner's arguments are its options."""


def pages() -> dict[str, str]:
    """Return every generated page by its file name."""
    return {
        "agreement-file.md": agreement_page(),
        "site-file.md": site_page(),
        "campaign-file.md": campaign_page(),
        "scenario-file.md": scenario_page(),
        "values.md": values_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "records.md": records_page(),
        "procedures.md": procedures_page(),
        "planners.md": planners_page(),
        "python.md": python_page(),
        "protocol.md": protocol_page(),
        "schedulers.md": schedulers_page(),
    }


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(FOLDER.name, name)


# ---- files that people write -----------------------------------------------------------------------------------


def agreement_page() -> str:
    """Return the page about agreement.toml."""
    about = (
        "The signed terms of a partnership. Every institution keeps the same file, byte for byte. Its SHA-256 is its\n"
        "identity, and what parties sign. See [how to make a joint agreement](../how-to/joint-agreement.md)."
    )
    return page("agreement.toml", about, *tables(agreement.AgreementFile))


def site_page() -> str:
    """Return the page about site.toml."""
    about = (
        "What a site offers and how it runs it. See [how to offer a procedure](../how-to/offer-a-procedure.md).\n\n"
        "Where `[site]` names no `policy`, this one holds. A policy file takes its place; see\n"
        f"[how to write a policy](../how-to/write-a-policy.md).\n\n```cedar\n{DEFAULT_POLICY.strip()}\n```"
    )
    return page("site.toml", about, *tables(site_file.SiteFile))


def campaign_page() -> str:
    """Return the page about campaign.toml."""
    about = (
        "What a campaign searches, what for, where its trials may run, and when it ends. See the\n"
        "[first campaign](../tutorials/first-campaign.md)."
    )
    model = campaign_file.CampaignFile[campaign_file.PoolTable | campaign_file.ParameterTables]
    return page("campaign.toml", about, *tables(model))


def scenario_page() -> str:
    """Return the page about scenario.toml."""
    about = (
        "A partnership that `renkei sim run` simulates: who is there, what their machines are like, what teams search\n"
        "for, and what happens meanwhile. See [how to simulate](../how-to/simulate.md). The scenario that comes with\n"
        "the package is a longer example: `renkei/sim/scenarios/partnership.toml`."
    )
    return page("scenario.toml", about, *tables(_scenario.Scenario))


def tables(model: type[Table]) -> Iterator[str]:
    """Yield a section for each table of a file, in the file's order."""
    hints = {name: info.rebuild_annotation() for name, info in model.model_fields.items()}
    rows = [
        f"| {', '.join(dict.fromkeys(head.split(',')[0] for head, _, _ in _tables_in(name, hints[name])))} "
        f"| {'must be there' if info.is_required() else ''} | {_of_table(info.description or '', hints[name])} |"
        for name, info in model.model_fields.items()
    ]
    yield (
        "Keys that are not listed here are refused. All mistakes in a file are reported at once, each with its path,\n"
        "what was found and what is expected. [Values](values.md) says how each kind of value is written.\n\n"
        + "\n".join(["| table | | what it is |", "|---|---|---|", *rows])
    )
    for name, hint in hints.items():
        yield from _sections(name, hint)


def _sections(path: str, hint: Any) -> Iterator[str]:
    for head, prefix, table in _tables_in(path, hint):
        rows: list[str] = []
        below: list[str] = []
        hints = get_type_hints(table, include_extras=True)
        for name, info in table.model_fields.items():
            key = info.alias or name
            kind = kind_of(hints[name], info.metadata)
            rows.append(f"| `{key}` | {kind} | {_default(table, name)} | {info.description} |")
            below += _sections(f"{prefix}.{key}", hints[name])
        lines = ["| key | value | default | what it is |", "|---|---|---|---|", *rows]
        yield f"## {head}\n\n{_about(table)}\n\n" + "\n".join(lines)
        yield from below


def _tables_in(path: str, hint: Any) -> Iterator[tuple[str, str, type[Table]]]:
    """Yield (heading, path of what is below it, model) of every table that a hint allows."""
    base, _ = _split(hint)
    if isinstance(base, type) and issubclass(base, Table):
        kinds_ = get_args(base.model_fields["type"].annotation) if "type" in base.model_fields else ()
        tag = f', type = "{kinds_[0]}"' if len(kinds_) == 1 else ""
        shown = path if path.startswith("[") else f"[{path}]"
        yield f"`{shown}`{tag}", path.strip("[]"), base
    elif get_origin(base) in (Union, UnionType):
        for each in get_args(base):
            yield from _tables_in(path, each)
    elif get_origin(base) is dict:
        yield from _tables_in(f"{path}.NAME", get_args(base)[1])
    elif get_origin(base) is tuple:
        yield from _tables_in(f"[[{path}]]", get_args(base)[0])


def _of_table(description: str, hint: Any) -> str:
    """Return what a table is, and what its field adds to that after a semicolon."""
    _, _, table = next(_tables_in("", hint))
    _, _, more = description.partition("; ")
    if table is campaign_file.PoolTable:
        return "What is searched: a table for each parameter, or a library of samples."
    return _about(table) + (f" {more[:1].upper()}{more[1:]}" if more else "")


def _about(table: type[Table]) -> str:
    text = (inspect.getdoc(table) or "").strip().split("\n\n")[0].replace("\n", " ")
    text = re.sub(r"^\[[^\]]*\]+:? ?", "", text)
    return text[:1].upper() + text[1:]


KINDS: dict[Any, str] = {
    site_file.PathBelow: "path below the run's directory",
    fields.Text: "text",
    fields.Name: "name",
    fields.Pattern: "pattern",
    fields.Identifier: "identifier",
    fields.PublicKeyText: "public key",
    fields.Url: "address",
    fields.PhysicalUnit: "unit",
    fields.AllocationUnit: "allocation unit",
    fields.Amount: "quantity",
    fields.Duration: "duration",
    fields.Size: "size",
    fields.FilePath: "path",
    fields.Code: "code",
    fields.Scalar: "value",
    campaign.Warm: "campaign",
}
"""What people call the types of values in files. A type that is made of another one stands before it."""

_PLAIN: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    date: "date",
    Any: "any",
}


def kind_of(hint: Any, beside: Sequence[Any] = ()) -> str:
    """Return what a value is, in words; `beside` is what else bounds it."""
    base, metadata = _split(hint)
    for known, word in KINDS.items():
        known_base, known_metadata = _split(known)
        if base == known_base and metadata[: len(known_metadata)] == known_metadata:
            return word
    if base in _PLAIN:
        return _PLAIN[base] + _range([*metadata, *beside])
    if isinstance(base, type) and issubclass(base, Table):
        return "table"
    origin, inner = get_origin(base), get_args(base)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in inner)
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(kind_of(each, beside) for each in inner if each is not NoneType)
        return "path or reference" if "path or reference" in kinds else " or ".join(kinds)
    if origin is tuple:
        is_one_enough = any(getattr(each, "func", None) is fields._as_list for each in metadata)
        return f"{'one or ' if is_one_enough else ''}list of {_several(kind_of(inner[0]))}"
    if origin is dict:
        return "tables by name" if "table" in kind_of(inner[1]) else f"table of {_several(kind_of(inner[1]))}"
    return "path or reference"  # a pool: the one type that is neither of these


def _several(word: str) -> str:
    head, comma, rest = word.partition(",")
    return {"quantity": "quantities", "code": "code", "any": "anything"}.get(head, f"{head}s") + comma + rest


def _range(metadata: Sequence[Any]) -> str:
    flat = [*metadata, *(inner for each in metadata for inner in getattr(each, "metadata", ()))]
    low = next((m.ge for m in flat if isinstance(m, annotated_types.Ge)), None)
    high = next((m.le for m in flat if isinstance(m, annotated_types.Le)), None)
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", {low} or more" if low is not None else ""


def _default(table: type[Table], name: str) -> str:
    info = table.model_fields[name]
    if info.is_required():
        return "must be there"
    value = info.get_default(call_default_factory=True)
    if name.endswith("_s") and isinstance(value, float):
        whole = ((3600, "h"), (60, "min"), (1, "s"))
        seconds, unit = next((each for each in whole if value % each[0] == 0), (1e-3, "ms"))
        return f'`"{value / seconds:g} {unit}"`'
    if name.endswith("_bytes") and isinstance(value, int):
        return f'`"{value / 1e6:g} MB"`'
    return _shown(value)


def _shown(value: object) -> str:
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, Table):
        given = {
            info.alias or name: getattr(value, name)
            for name, info in type(value).model_fields.items()
            if getattr(value, name) not in (None, ())
        }
        body = ", ".join(f"{key} = {_shown(each).strip('`')}" for key, each in given.items())
        return f"`{{ {body} }}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(_shown(each).strip('`') for each in value)}]`"
    if isinstance(value, str | Path | Quantity):
        return f'`"{value}"`'
    return f"`{value}`"


def values_page() -> str:
    """Return the page on how values are written in files."""
    said = {name: text for module in _WITH_VALUES for name, text in attribute_docs(module).items()}
    named = {id(value): name for module in _WITH_VALUES for name, value in vars(module).items()}
    rows = [
        f"| {word} | {said[named[id(known)]].replace(' (`Path`)', '')} |"
        for known, word in sorted(KINDS.items(), key=lambda item: item[1])
    ]
    table = "\n".join(["| value | what it is |", "|---|---|", *rows])
    units = (
        "## Units\n\nPhysical units are those that pint knows. They convert between a campaign and a procedure, for\n"
        "example `degC` to `K`.\n\n"
        f"Allocation units never convert into one another: {', '.join(f'`{unit}`' for unit in ALLOCATION_UNITS)}."
    )
    names = "## Names\n\nA name has at most 100 lower-case letters, digits, `-` and `.`, and begins with a letter."
    about = "How values are written in `agreement.toml`, `site.toml` and `campaign.toml`."
    return page("Values", about, table.replace("`renkei.units.ALLOCATION_UNITS`", "those below"), names, units)


_WITH_VALUES = (fields, site_file, campaign)


# ---- commands --------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Return the page about the command line."""
    about = inspect.getdoc(sys.modules["renkei.cli"]) or ""
    parts = [_paragraphs(about.split("\n\n", 1)[1].partition(" Each noun's")[0])]
    variables = {"RENKEI_HOME": "The folder of sites and campaigns, where `--home` is not given; else `.renkei`."}
    parts.append(
        "\n".join(
            ["## Environment", "", "| variable | what it is |", "|---|---|"]
            + [f"| `{name}` | {variables[name]} |" for name in VARIABLES]
        )
        + "\n\nAny other variable that begins with `RENKEI_` is refused."
    )
    own = [p for p in root.params if p.name not in ("install_completion", "show_completion", "help")]
    parts.append("## `renkei`\n\n" + _options(own))
    for name, command in root.commands.items():
        loaded = load(command)
        verbs = getattr(loaded, "commands", None)
        if verbs is None:
            parts.append(
                f"## `renkei {name}`\n\n{_paragraphs(loaded.help or '')}\n\n{_usage(f'renkei {name}', loaded)}"
            )
            continue
        parts.append(f"## `renkei {name}`\n\n{command.help}")
        parts += [
            f"### `renkei {name} {verb}`\n\n{_paragraphs(each.help or '')}\n\n{_usage(f'renkei {name} {verb}', each)}"
            for verb, each in verbs.items()
        ]
    return page("Commands", "`renkei NOUN VERB [NAME]`.", *parts)


def load(command: Any) -> Any:
    """Return the command that a lazy one stands for."""
    return command._load() if hasattr(command, "_load") else command


def _usage(path: str, command: Any) -> str:
    words = [path]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words += [_metavar(p) if p.required else f"[{_metavar(p)}]" for p in arguments]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    words += [f"{_flag(p)}" for p in options if p.required]
    if any(not p.required for p in options):
        words.append("[OPTIONS]")
    return f"```console\n$ {' '.join(words)}\n```\n\n{_options([*arguments, *options])}".strip()


def _flag(parameter: Any) -> str:
    name = max(parameter.opts, key=len)
    return name if getattr(parameter, "is_flag", False) else f"{name} {_metavar(parameter)}"


def _metavar(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()


def _options(parameters_: Iterable[Any]) -> str:
    rows: list[str] = []
    for p in parameters_:
        if p.param_type_name == "argument":
            head = f"`{_metavar(p)}`"
        else:
            metavar = "" if getattr(p, "is_flag", False) else f" {_metavar(p)}"
            head = ", ".join(f"`{name}{metavar}`" for name in sorted(p.opts, key=len, reverse=True))
        default = p.default if not callable(p.default) else None
        is_told = isinstance(default, str | Path | int) and not isinstance(default, bool) and str(default) != ""
        shown = f" Default: `{default}`." if is_told and not p.required else ""
        rows.append(f"| {head} | {p.help or ''}{shown} |")
    return "\n".join(["| argument or option | what it is |", "|---|---|", *rows]) if rows else ""


# ---- errors ----------------------------------------------------------------------------------------------------


def errors_page() -> str:
    """Return the page about errors."""
    about = (
        "Every error has a code that does not change, one sentence that says what is wrong, and a hint that says what\n"
        "to do next. `--json` prints it as one object: `code`, `message`, `hint`, `retryable`, `context`.\n\n"
        "An ended run is a result and not an error: see [records](records.md) for outcomes."
    )
    rows = [
        f"| `{each.code}` | `{each.__name__}` | {each.exit_code} | {'yes' if each.retryable else 'no'} "
        f"| {_first_line(each)} |"
        for each in error_types()
    ]
    head = ["| code | class | exit code | may a retry help | what it means |", "|---|---|---|---|---|"]
    tree = dedent(inspect.getdoc(sys.modules["renkei.errors"]) or "").split("::\n\n", 1)[1].split("\n\n`Infeasible`")[0]
    beside = f"## `Infeasible`\n\n{_paragraphs(inspect.getdoc(Infeasible) or '')}"
    of_http = [
        f"| `{code}` | {status} | {HTTPStatus(status).phrase} |"
        for code, status in sorted(http_codes().items(), key=lambda item: (item[1], item[0]))
    ]
    return page(
        "Errors",
        about,
        "\n".join([*head, *rows]),
        f"## How they hang together\n\n```text\n{dedent(tree)}\n```",
        beside,
        "## Codes that only HTTP has\n\nA served site answers with these, too; the answer says the rest.\n\n"
        + "\n".join(["| code | status | |", "|---|---|---|", *of_http]),
    )


def error_types() -> list[type[RenkeiError]]:
    """Return every error, parents before children."""

    def below(kind: type[RenkeiError]) -> Iterator[type[RenkeiError]]:
        yield kind
        for each in kind.__subclasses__():
            if each.__module__.startswith("renkei.") and each is not HttpError and not each.__name__.startswith("_"):
                yield from below(each)

    return list(below(RenkeiError))


def http_codes() -> dict[str, int]:
    """Return the status of every code that only HTTP has."""
    found: dict[str, int] = {}
    for file in sorted(Path(str(_protocol.__file__)).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "HttpError":
                status, code = (each.value for each in node.args[:2] if isinstance(each, ast.Constant))
                found[str(code)] = int(str(status))
    return found


# ---- records ---------------------------------------------------------------------------------------------------


def records_page() -> str:
    """Return the page about records."""
    about = _paragraphs((inspect.getdoc(records) or "").strip())
    parts: list[str] = []
    for kind, body in records.BODIES.items():
        parts.append(f"## `{kind}`\n\n{_first_line(body)}\n\n{_struct(body)}")
    parts += [
        f"## `{each.__name__}` inside a record\n\n{_first_line(each)}\n\n{_struct(each)}"
        for each in (records.Reason, records.Dataset, records.Evidence)
    ]
    return page("Records", about, *parts)


def _struct(struct: type[msgspec.Struct]) -> str:
    docs = attribute_docs(records, struct.__name__)
    elsewhere = attribute_docs(records, "RunAccepted")
    rows: list[str] = []
    for each in msgspec.structs.fields(struct):
        said = docs.get(each.name) or elsewhere.get(each.name) or IN_MANY[each.name]
        left_out = "" if each.required else " May be left out."
        rows.append(f"| `{each.encode_name}` | {_type(each.type)} | {said}{left_out} |")
    return "\n".join(["| field | type | what it is |", "|---|---|---|", *rows])


IN_MANY = {
    "active_s": "Seconds.",
    "agreement": "Digest (SHA-256, hex) of the agreement.",
    "approved": "Whether it was approved.",
    "by": "In whose name.",
    "campaign": "The campaign.",
    "code": "What kind of refusal it is.",
    "datasets": "What it left behind.",
    "deadline": "When it is given up as lost.",
    "digest": "SHA-256 of the content, hex.",
    "evidence": "What speaks for it.",
    "executor": "The engine that it was given to.",
    "exit_code": "Of its process.",
    "id": "Of the rule or policy.",
    "institution": "The institution that signs for the campaign, or runs the site.",
    "is_up": "Whether it takes jobs.",
    "job": "What the engine calls it.",
    "key": "The institution's public key.",
    "kind": "What the envelope holds.",
    "message": "One sentence for people.",
    "micro": "Millionths of the unit.",
    "n": "The trial's number, from 0.",
    "name": "Its name.",
    "note": "What was said besides; of a checkpoint, the signed note.",
    "outputs": "Numbers by name.",
    "parameters": "Values by name.",
    "payload": "What was signed.",
    "planner": "The planner's name.",
    "problems": "What is wrong with it.",
    "procedure": "The procedure's name.",
    "queue_s": "Seconds between acceptance and start.",
    "reason": "Why.",
    "reasons": "Why it was decided so.",
    "record": "The record, byte for byte.",
    "retryable": "Whether another try may end otherwise.",
    "run": "The run's id.",
    "run_s": "Seconds that it ran.",
    "seed": "The campaign's seed.",
    "signal": "What ended its process, for example SIGKILL.",
    "signature": "Both signatures, one after the other.",
    "signer": "Whose key signed it.",
    "site": "The site.",
    "size_bytes": "How large it is.",
    "software": "The version of renkei.",
    "source": "Where it comes from.",
    "state": "Where it stands.",
    "team": "Whose allocation it is.",
    "text": "In words for people; of a campaign, its file as written.",
    "trial": "The trial's id.",
    "unit": "The allocation unit.",
    "version": "The procedure's version.",
    "why": "Why.",
}
"""What fields of records mean where the code says no more of them."""


def _type(hint: Any) -> str:
    if hint is msgspec.Raw:
        return "a record"
    if get_origin(hint) is dict:
        return "object"
    if get_origin(hint) is tuple:
        return f"list of {_type(get_args(hint)[0])}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in get_args(hint) if each is not NoneType))
    return {str: "text", int: "whole number", float: "number", bool: "true or false", bytes: "base64"}.get(
        hint, f"`{getattr(hint, '__name__', hint)}`"
    )


# ---- procedures and planners -----------------------------------------------------------------------------------


def procedures_page() -> str:
    """Return the page about the procedures that come with renkei."""
    about = (
        'Procedures that come with renkei. A site offers those of a module with `use = "MODULE"` in its `site.toml`,\n'
        'or with `procedures = "MODULE"` where a campaign embeds it.'
    )
    parts: list[str] = []
    for module, procedures in ready_procedures():
        parts.append(f"## `{module.__name__}`\n\n{_first_line(module)}")
        parts += [_procedure(each) for each in procedures]
    return page("Procedures", about, *parts)


def ready_procedures() -> list[tuple[ModuleType, list[Procedure]]]:
    """Return every public module of renkei.science with its procedures."""
    names = sorted(m.name for m in pkgutil.iter_modules(renkei.science.__path__) if not m.name.startswith("_"))
    modules = [importlib.import_module(f"renkei.science.{name}") for name in names]
    return [(module, [p for _, p in procedures_in(module.__name__)]) for module in modules]


def _procedure(procedure: Procedure) -> str:
    spec = procedure.spec
    docs = sections_of(inspect.getdoc(procedure.function) or "")
    takes = [
        f"| `{p.name}` | {_bounds(p)} | {_unit(p.unit)} | {_value(spec.defaults.get(p.name))} "
        f"| {docs['Args'].get(p.name, '')} |"
        for p in spec.parameters
    ]
    gives = [f"| `{o.name}` | {o.type} | {_unit(o.unit)} | {docs['Returns'].get(o.name, '')} |" for o in spec.outputs]
    return "\n\n".join(
        [
            f"### `{spec.name}`",
            f"{spec.kind.capitalize()}, version {spec.version}. {spec.summary}",
            *([docs["text"]] if docs["text"] else []),
            "\n".join(["| parameter | values | unit | default | what it is |", "|---|---|---|---|---|", *takes]),
            "\n".join(["| output | type | unit | what it is |", "|---|---|---|---|", *gives]),
        ]
    )


def sections_of(text: str) -> dict[str, Any]:
    """Return the Args and Returns of a Google docstring by name, and its text below the first line."""
    found: dict[str, Any] = {"Args": {}, "Returns": {}, "text": ""}
    body, *rest = re.split(r"\n\n(?=(?:Args|Returns|Raises):\n)", text)
    found["text"] = _paragraphs("\n\n".join(body.split("\n\n")[1:]))
    for each in rest:
        head, _, lines = each.partition(":\n")
        if head in found:
            joined = re.sub(r"\n {5,}", " ", "\n" + lines)
            pairs = re.findall(r"\n {4}(\w+): (.+)", joined)
            found[head] = dict(pairs)
    return found


def planners_page() -> str:
    """Return the page about planners."""
    about = (
        "What can stand in `[planner] name`. A planner is found through the entry point group `renkei.planners`, ours\n"
        "and [your own](../how-to/own-planner.md) alike."
    )
    parts: list[str] = []
    for point in sorted(entry_points(group="renkei.planners"), key=lambda point: point.name):
        if not point.value.startswith("renkei."):
            continue
        planner = point.load()
        text, *rest = re.split(r"\n\n(?=(?:Args|Raises):\n)", inspect.getdoc(planner) or "")
        described = sections_of("\n\n".join(["", *rest]))["Args"]
        options = [p for name, p in inspect.signature(planner).parameters.items() if name not in _HANDED_OVER]
        rows = [f"| `{p.name}` | {_value(p.default)} | {described.get(p.name, '')} |" for p in options]
        table = (
            "\n".join(["| option | default | what it is |", "|---|---|---|", *rows]) if rows else "It has no options."
        )
        parts.append(f"## `{point.name}`\n\n{_paragraphs(text)}\n\n{table}")
    return page("Planners", about, *parts)


# ---- Python ----------------------------------------------------------------------------------------------------


def python_page() -> str:
    """Return the page about what `import renkei` gives."""
    about = "What `import renkei` gives. Everything else is found in the package that is named after it."
    parts: list[str] = []
    for name in renkei.__all__:
        value = getattr(renkei, name)
        if name.startswith("__"):
            continue
        signature = _signature(value) if inspect.isfunction(value) else ""
        head = f"```python\n{name}{signature}\n```\n\n" if signature else ""
        members = _members(value) if inspect.isclass(value) else ""
        parts.append(f"## `{name}`\n\n{head}{_google(inspect.getdoc(value) or '')}{members}")
    extras = "\n".join(
        ["| extra | packages |", "|---|---|"]
        + [
            f"| `{extra}` | {', '.join(sorted(name for name, of in EXTRAS.items() if of == extra))} |"
            for extra in dict.fromkeys(EXTRAS.values())
        ]
    )
    parts.append(
        f"## Extras\n\nWhat the core does not need. A message names the extra where a package is missing.\n\n{extras}"
    )
    return page("Python", about, *parts)


def _members(kind: type[Any]) -> str:
    """Return what can be asked of an object, as a table."""
    rows: list[str] = []
    for name, value in vars(kind).items():
        text = _first_line(value)
        if name.startswith("_") or not text or not (inspect.isfunction(value) or isinstance(value, property)):
            continue
        shown = (
            name
            if isinstance(value, property)
            else name + _signature(value).replace("(self, ", "(").replace("(self)", "()")
        )
        rows.append(f"| `{shown}` | {text} |")
    return "\n\n" + "\n".join(["| member | what it does |", "|---|---|", *rows]) if rows else ""


def _signature(function: Any) -> str:
    words: list[str] = []
    for name, each in inspect.signature(function).parameters.items():
        if each.kind is each.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        default = str(each.default) if isinstance(each.default, Path) else each.default
        shown = "…" if inspect.isfunction(default) else repr(default)
        words.append(name if each.default is each.empty else f"{name}={shown}")
    return f"({', '.join(words)})"


# ---- over the network ------------------------------------------------------------------------------------------


def protocol_page() -> str:
    """Return the page about the renkei protocol."""
    about = (
        "What campaigns ask of a site elsewhere, at `/renkei/v1` of its URL. Every site serves this as an OpenAPI\n"
        "document, too, at `/renkei/v1/openapi.json`, and for people at `/docs`. See\n"
        "[how a batch travels](../explanations/wire.md) for why it is so."
    )
    told = document("NAME", "https://SITE", renkei.__version__)
    rows = [
        f"| `{verb.upper()} {path}` | {_needs(operation)} | {_query_of(operation)} | {operation['summary']} |"
        for path, verbs in told["paths"].items()
        for verb, operation in verbs.items()
    ]
    needs = (
        "A signed batch is an envelope, and so is a pass: it travels in the header `Authorization: Renkei BASE64`.\n"
        "A refusal is a problem document (RFC 9457) with the code of an [error](errors.md)."
    )
    parts = [
        "## Operations\n\n"
        + "\n".join(["| operation | needs | query | what it does |", "|---|---|---|---|", *rows])
        + f"\n\n{needs}"
    ]
    for name, schema in told["components"]["schemas"].items():
        fields_ = [
            f"| `{field}` | {_json_type(each)} | {each.get('description', '')} |"
            for field, each in schema["properties"].items()
        ]
        text = f"{schema['description']}\n\n" if "description" in schema else ""
        table = "\n".join(["| field | type | what it is |", "|---|---|---|", *fields_])
        parts.append(f"## `{name}`\n\n{text}{table}")
    for title, module in (("of a site", _protocol), ("of a site's server", _server), ("of a campaign's side", http)):
        limits = [
            f"| `{name}` | {vars(module)[name]:,} | {said} |"
            for name, said in attribute_docs(module).items()
            if isinstance(vars(module).get(name), int | float)
        ]
        parts.append(f"## Limits {title}\n\n" + "\n".join(["| limit | | what it is |", "|---|---|---|", *limits]))
    return page("The renkei protocol", about, *parts)


def _needs(operation: dict[str, Any]) -> str:
    if operation["security"]:
        return "a pass"
    return "a signed batch" if "requestBody" in operation else ""


def _query_of(operation: dict[str, Any]) -> str:
    queries = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
    return ", ".join(f"`{each['name']}`{'' if each['required'] else ' (optional)'}" for each in queries)


def _json_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(map(str, kind))
    if kind == "array":
        return f"array of {_json_type(schema['items'])}"
    return f"{kind}, base64" if schema.get("contentEncoding") == "base64" else str(kind)


_ENGINES: Sequence[tuple[ModuleType, Any, str]] = (
    (slurm, slurm.Slurm, "Tested on a real Slurm, version 22.05. See [the how-to](../how-to/slurm.md)."),
    (pbs, pbs.PbsScheduler, "Never run on a live PBS: see [the how-to](../how-to/pbs-pro.md)."),
    (pjm, pjm.PjmScheduler, "Never run on a live PJM, nor on Fugaku: see [the how-to](../how-to/fugaku.md)."),
    (flux, flux.FluxScheduler, "Never run on a live Flux: see [the how-to](../how-to/flux.md)."),
    (
        iri,
        iri.IriScheduler,
        "Tested against renkei's own IRI API. See [the how-to](../how-to/iri-facility.md).",
    ),
)
"""The engines outside of renkei: module, class, and what they were tested on."""


def schedulers_page() -> str:
    """Return the page about states of batch systems."""
    about = (
        "What the words of batch systems mean here. The raw word is kept beside the meaning, in the evidence of\n"
        "`run.ended`. A word that is not in a table is *unknown*: the job is left alone until another one comes.\n\n"
        "Of a job that is over, the evidence in its directory comes first: `exit_code`, `result.json`, outputs. A run\n"
        "succeeded when that says so, and never by a scheduler's word alone. The last column but one says what\n"
        "happens where the evidence does not speak of success: *the evidence* means that the word adds nothing, and\n"
        "that a run without any evidence is `lost`, or `failed` where its script is known to have failed."
    )
    parts: list[str] = []
    for module, kind, tried in _ENGINES:
        rows = [
            f"| `{word}` | {each.state} | {_end(each)} | {each.text} |" for word, each in vars(module)["STATES"].items()
        ]
        head = f"| {kind.title} | here | how the run ends | what it is |"
        parts.append(
            f'## {kind.title}, `kind = "{kind.name}"`\n\n{tried}\n\n'
            + "\n".join([head, "|---|---|---|---|", *rows, f"| any other | {UNKNOWN.state} | | {UNKNOWN.text} |"])
        )
    rows = [f"| {ours} | {theirs} |" for ours, theirs in _compute.STATES.items()]
    parts.append(
        "## What a site's IRI API says of runs\n\nA run that was started is what its engine says: queued, held or"
        " active.\n\n" + "\n".join(["| run here | job there |", "|---|---|", *rows])
    )
    return page("Schedulers", about, *parts)


def _end(meaning: Meaning) -> str:
    if meaning.state != "ended":
        return ""
    match meaning.end:
        case "":
            return "the evidence"
        case "time" | "memory":
            return f"over its {meaning.end} limit: what `exceeded` says"
        case "cancelled":
            return "cancelled"
        case _:
            whose = f"the {meaning.fault}'s fault, {'retried' if meaning.is_retryable else 'not retried'}"
            return f"failed, {whose}"


# ---- parts -----------------------------------------------------------------------------------------------------


def page(title: str, about: str, *parts: str) -> str:
    """Return a page."""
    return "\n\n".join([NOTE, f"# {title}", about.strip(), *(part.strip() for part in parts if part.strip())]) + "\n"


def attribute_docs(module: ModuleType, class_name: str = "") -> dict[str, str]:
    """Return the text that stands under each attribute of a module, or of a class in it."""
    body: Sequence[ast.stmt] = ast.parse(inspect.getsource(module)).body
    if class_name:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == class_name)
    found: dict[str, str] = {}
    for node, after in pairwise(body):
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[target.id] = inspect.cleandoc(str(after.value.value)).replace("\n", " ")
    return found


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if isinstance(hint, TypeVar):
        return Any, ()
    if get_origin(hint) is Annotated:
        base, *metadata = get_args(hint)
        return base, tuple(metadata)
    return hint, ()


def _first_line(value: object) -> str:
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _paragraphs(text: str) -> str:
    """Return a docstring's text as Markdown: `::` begins a block that stays as it is."""
    parts: list[str] = []
    is_code = False
    for part in inspect.cleandoc(text).split("\n\n"):
        if is_code and part.startswith("    "):
            parts.append(f"```text\n{dedent(part)}\n```")
            continue
        is_code = part.endswith("::")
        parts.append(part[:-1] if is_code else part)
    return "\n\n".join(parts)


def _google(text: str) -> str:
    """Return a docstring with its sections as lists."""
    parts: list[str] = []
    for part in text.split("\n\n"):
        head, _, lines = part.partition(":\n")
        if head in ("Args", "Raises", "Returns"):
            joined = re.sub(r"\n {5,}", " ", "\n" + lines)
            lines = "\n".join(f"- `{name}`: {said}" for name, said in re.findall(r"\n {4}(\w+): (.+)", joined))
            parts.append({"Args": "", "Returns": "Returns:\n\n", "Raises": "Raises:\n\n"}[head] + lines)
        else:
            parts.append(part)
    return "\n\n".join(parts)


def _bounds(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return ", ".join(f"`{each}`" for each in parameter.values)
    if isinstance(parameter.low, int):
        return f"whole, {parameter.low} to {parameter.high}"
    return f"{parameter.low:g} to {parameter.high:g}"


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _value(value: object) -> str:
    return "" if value is None else f"`{value}`"


if __name__ == "__main__":
    main()
