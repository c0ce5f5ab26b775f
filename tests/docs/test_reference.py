"""The reference says what the code says, and leaves nothing out."""

import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from doc_pages import DOCS

import renkei
from renkei.api import _protocol
from renkei.api._document import document
from renkei.api._problems import HttpError
from renkei.api._protocol import Protocol
from renkei.cli import VARIABLES, root
from renkei.errors import RenkeiError
from renkei.executors import flux, iri, pbs, pjm, procedures_in, slurm
from renkei.model.files import Table
from renkei.model.records import BODIES
from renkei.planning._port import entry_points
from renkei.sim import Scenario
from renkei.units import ALLOCATION_UNITS

REFERENCE = DOCS / "reference"

# As ARCHITECTURE has them, and what else runs and records use.
WORDS = """
agreement site facility resource project incident procedure team allocation campaign parameter objective constraint
surrogate acquisition trial run job outcome observation dataset distribution record ledger checkpoint decision
acceleration party institution home pool source planner baseline broker executor charge reservation books projection
envelope batch evidence proof crate report policy rule reason digest
"""
OUTCOMES = ("succeeded", "infeasible", "failed", "lost", "cancelled", "refused")
STATES = ("parked", "accepted", "started", "pending", "observed", "abandoned", "reached", "exhausted", "stopped")


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("renkei_docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


@pytest.mark.parametrize("name", list(generator().pages()))
def test_a_generated_page_is_what_the_code_gives(name: str) -> None:
    assert generator().pages()[name] == page(name), "run: make docs"


def test_every_page_is_generated_or_the_glossary() -> None:
    assert {path.name for path in REFERENCE.glob("*")} == {*generator().pages(), "glossary.md"}


def test_every_setting_of_every_file_is_told() -> None:
    told = "".join(page(f"{file}-file.md") for file in ("agreement", "site", "campaign", "scenario"))
    for table in _tables(Table):
        for name, info in table.model_fields.items():
            if table.__name__.startswith(("CampaignFile", "SiteFile", "AgreementFile")) or table is Scenario:
                assert f"[{info.alias or name}" in told, f"{table.__name__}.{name}"
            else:
                assert f"| `{info.alias or name}` |" in told, f"{table.__name__}.{name}"
                assert info.description, f"{table.__name__}.{name}"


def _tables(kind: type[Table]) -> Iterator[type[Table]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("renkei."):  # other tests make tables of their own
            yield each
        yield from _tables(each)


def test_every_command_and_every_option_is_told() -> None:
    told = page("commands.md")
    for path, command in _commands():
        assert f"`{path}`" in told
        section = told.partition(f"`{path}`\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert all(name in section for name in parameter.opts), f"{path} {parameter.opts}"


def _commands() -> Iterator[tuple[str, Any]]:
    for noun, lazy in root.commands.items():
        loaded = generator().load(lazy)
        verbs = getattr(loaded, "commands", None)
        if verbs is None:
            yield f"renkei {noun}", loaded
        else:
            yield from ((f"renkei {noun} {verb}", command) for verb, command in verbs.items())


def test_every_variable_of_the_environment_is_told() -> None:
    assert all(f"`{name}`" in page("commands.md") for name in VARIABLES)


def test_every_error_code_is_told() -> None:
    def below(kind: type[RenkeiError]) -> Iterator[type[RenkeiError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    ours = [
        kind
        for kind in below(RenkeiError)
        if kind.__module__.startswith("renkei.") and kind is not HttpError and not kind.__name__.startswith("_")
    ]
    assert len(ours) >= 19
    assert all(f"| `{kind.code}` | `{kind.__name__}` | {kind.exit_code} |" in page("errors.md") for kind in ours)


def test_every_code_that_only_http_has_is_told() -> None:
    codes = re.findall(r'HttpError\(\s*(\d+), "([a-z-]+)"', inspect.getsource(_protocol))
    assert len(codes) >= 5
    assert all(f"| `{code}` | {status} |" in page("errors.md") for status, code in codes)


def test_every_kind_of_record_and_every_field_is_told() -> None:
    told = page("records.md")
    for kind, body in BODIES.items():
        section = told.partition(f"## `{kind}`\n")[2].partition("\n## ")[0]
        assert section, kind
        assert all(f"| `{field}` |" in section for field in body.__struct_encode_fields__), kind
    assert not re.search(r"\|\s*\|$", told, re.MULTILINE), "a field without a word about it"


def test_every_procedure_that_comes_with_renkei_is_told() -> None:
    told = page("procedures.md")
    for area in ("autolab", "computing", "fusion", "quantum"):
        for _, procedure in procedures_in(f"renkei.science.{area}"):
            section = told.partition(f"### `{procedure.spec.name}`\n")[2].partition("\n## ")[0]
            names = [each.name for each in (*procedure.spec.parameters, *procedure.spec.outputs)]
            assert all(f"| `{name}` |" in section for name in names), procedure.spec.name


@pytest.mark.parametrize("module", [slurm, pbs, pjm, flux, iri], ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_state_of_a_batch_system_is_told(module: ModuleType) -> None:
    name = module.__name__.rpartition(".")[2]
    section = page("schedulers.md").partition(f'`kind = "{name}"`\n')[2].partition("\n## ")[0]
    assert len(module.STATES) >= 8
    for word, meaning in module.STATES.items():
        assert f"| `{word}` | {meaning.state} |" in section
        assert meaning.text in section


def test_every_operation_of_the_protocol_is_told() -> None:
    described = document("NAME", "https://SITE", renkei.__version__)
    assert len(described["paths"]) >= 12
    for path, verbs in described["paths"].items():
        assert all(f"| `{verb.upper()} {path}` |" in page("protocol.md") for verb in verbs)
    site = SimpleNamespace(site=None, clock=None, file=SimpleNamespace(serve=None))
    routes = {route.path for route in Protocol(site).routes()}  # type: ignore[arg-type]
    assert routes == {*described["paths"], "/openapi.json", "/docs"}


def test_every_planner_is_told() -> None:
    ours = [point.name for point in entry_points(group="renkei.planners") if point.value.startswith("renkei.")]
    assert ours
    assert all(f"## `{name}`" in page("planners.md") for name in ours)


def test_everything_that_renkei_exports_is_told() -> None:
    assert all(f"## `{name}`" in page("python.md") for name in renkei.__all__ if name != "__version__")


def test_the_glossary_has_every_word() -> None:
    heads = [
        head for heads in re.findall(r"^\| ([^|]+) \|", page("glossary.md"), re.MULTILINE) for head in heads.split(", ")
    ]
    assert [word for word in WORDS.split() if word not in heads] == []
    assert all(head in heads for head in OUTCOMES)
    assert all(state in page("glossary.md") for state in STATES)
    assert all(unit in page("glossary.md") for unit in ALLOCATION_UNITS)


def test_the_glossary_defines_each_word_once() -> None:
    parts = page("glossary.md").split("\n### ")
    words = re.findall(
        r"^\| ([^|]+) \| .* \|$", parts[0] + "".join(p.partition("\n## ")[2] for p in parts[1:]), re.MULTILINE
    )
    each = [word for heads in words for word in heads.split(", ") if word not in ("word", "---")]
    assert sorted(each) == sorted(set(each))
