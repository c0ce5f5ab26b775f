"""site.toml: what a site offers, and what it may not say."""

from pathlib import Path

import pytest
from file_keys import changed, keys_of, mistakes_of
from served_file import SERVED, SERVED_CHANGES

from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.quantity import Quantity
from renkei.model.site_file import Charge, CommandFile, ExecutorTable, SiteFile, load_site, parse_site
from renkei.model.space import Choice, Integer, Real

FOLDER = Path("/home/lab")

TEXT = """
[site]
name = "us-fusion-lab"
institution = "us-institute"
key = "keys/us-fusion-lab.key"
agreement = "agreement.toml"
policy = "policy.cedar"
data = "data"

[executor]
kind = "local"
workers = 3
memory = "2 GB"
time_limit = "20 min"

[[procedures]]
use = "renkei.science.fusion"
only = ["fusion.stellarator-equilibrium"]
charge = { unit = "node-hour", per_hour = 1.0 }
time_limit = "60 s"
memory = "1 GB"
exceeded = "infeasible"

[[commands]]
name = "lab.simulate"
version = "1.0"
summary = "Simulate."
kind = "measurement"
command = ["./simulate", "--x={x}", "{n}", "{m}", "{{", "{directory}/outputs.json", "{run}"]
outputs_file = "out.json"
infeasible_exit_codes = [3]
parameters.x = { type = "real", low = 0.5, high = 2.0, unit = "kA", scale = "log" }
parameters.n = { type = "integer", low = 1, high = 9, unit = "m", scale = "log" }
parameters.m = { type = "choice", values = ["a", 2, true] }
defaults = { m = "a" }
outputs.y = { type = "real", unit = "K" }
outputs.field = { type = "file", path = "field.h5" }
charge = { unit = "sample", per_run = 2 }
time_limit = "30 s"
memory = "3 GB"
exceeded = "infeasible"

[[allocations]]
team = "fusion-energy"
quantity = "40 node-hour"
"""

CHANGES = {
    "site.name": ('name = "us-fusion-lab"', 'name = "other"'),
    "site.institution": ('"us-institute"', '"other"'),
    "site.key": ("keys/us-fusion-lab.key", "other.key"),
    "site.agreement": ("agreement.toml", "other.toml"),
    "site.policy": ("policy.cedar", "other.cedar"),
    "site.data": ('data = "data"', 'data = "other"'),
    "executor.kind": ('kind = "local"', 'kind = "slurm"'),
    "executor.workers": ("workers = 3", "workers = 4"),
    "executor.memory": ('memory = "2 GB"', 'memory = "2 GiB"'),
    "executor.time_limit": ("20 min", "21 min"),
    "procedures.use": ("renkei.science.fusion", "mylab.py"),
    "procedures.only": ('only = ["fusion.stellarator-equilibrium"]', "only = []"),
    "procedures.charge.unit": ('unit = "node-hour"', 'unit = "core-hour"'),
    "procedures.charge.per_hour": ("per_hour = 1.0", "per_hour = 2.0"),
    "procedures.charge.per_run": ("per_hour = 1.0", "per_run = 1.0"),
    "procedures.time_limit": ("60 s", "61 s"),
    "procedures.memory": ("1 GB", "1.5 GB"),
    "procedures.exceeded": ('memory = "1 GB"\nexceeded = "infeasible"', 'memory = "1 GB"\nexceeded = "failed"'),
    "commands.name": ("lab.simulate", "lab.other"),
    "commands.version": ('version = "1.0"', 'version = "1.1"'),
    "commands.summary": ("Simulate.", "Do not."),
    "commands.kind": ('"measurement"', '"inference"'),
    "commands.command": ("--x={x}", "--x {x}"),
    "commands.outputs_file": ("out.json", "other.json"),
    "commands.infeasible_exit_codes": ("[3]", "[3, 4]"),
    "commands.parameters.type": ('{ type = "integer"', '{ type = "real"'),
    "commands.parameters.low": ("low = 0.5", "low = 0.6"),
    "commands.parameters.high": ("high = 2.0", "high = 2.1"),
    "commands.parameters.unit": ('"kA"', '"A"'),
    "commands.parameters.scale": ('unit = "kA", scale = "log"', 'unit = "kA", scale = "linear"'),
    "commands.parameters.values": ('["a", 2, true]', '["a", 2, false]'),
    "commands.defaults": ('m = "a"', "m = 2"),
    "commands.outputs.type": ('outputs.y = { type = "real"', 'outputs.y = { type = "integer"'),
    "commands.outputs.unit": ('unit = "K"', 'unit = "mK"'),
    "commands.outputs.path": ("field.h5", "field.nc"),
    "commands.charge.unit": ('unit = "sample"', 'unit = "run"'),
    "commands.charge.per_hour": ("per_run = 2", "per_hour = 2"),
    "commands.charge.per_run": ("per_run = 2", "per_run = 3"),
    "commands.time_limit": ("30 s", "31 s"),
    "commands.memory": ("3 GB", "4 GB"),
    "commands.exceeded": ('memory = "3 GB"\nexceeded = "infeasible"', 'memory = "3 GB"\nexceeded = "failed"'),
    "allocations.team": ("fusion-energy", "other"),
    "allocations.quantity": ("40 node-hour", "41 node-hour"),
}


def parse(text: str) -> SiteFile:
    return parse_site(text, folder=FOLDER)


def mistakes(text: str) -> list[str]:
    return mistakes_of(parse_site, text)


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES)
def test_every_key_changes_the_site(old: str, new: str) -> None:
    assert parse(changed(TEXT, old, new)) != parse(TEXT)


@pytest.mark.parametrize(("old", "new"), SERVED_CHANGES.values(), ids=SERVED_CHANGES)
def test_every_key_of_a_served_site_changes_it(old: str, new: str) -> None:
    assert parse(changed(SERVED, old, new)) != parse(SERVED)


def test_every_key_is_among_those_that_are_changed() -> None:
    assert {*CHANGES, *SERVED_CHANGES} == keys_of(SiteFile)


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('certificate = "site.pem"\n', "", "serve.certificate_key: found 'site.pem.key', expected certificate and"),
        ("8441", "65536", "serve.port: found 65536, expected a number of at most 65535"),
        ("0" * 64, "secret", "tokens#1.sha256: found 'secret', expected the SHA-256 of the token, 64 hex digits"),
        ('["ES256"]', '["HS256"]', "issuers#1.algorithms#1: found 'HS256', expected one of RS256, PS256, ES256"),
        ("https://id2.example.org", "http://id2.example.org", "issuers#2.issuer: found 'http://id2.example.org'"),
        ('kind = "iri"', 'kind = "slurm"', "executor.url: found 'https://iri.example.org', expected nothing"),
        ('kind = "iri"', 'kind = "local"', "executor.queue: found 'regular', expected nothing"),
    ],
)
def test_what_a_served_site_may_not_say(old: str, new: str, mistake: str) -> None:
    assert any(found.startswith(mistake) for found in mistakes(changed(SERVED, old, new)))


def test_without_tls_a_site_listens_on_loopback_only() -> None:
    plain = SERVED.replace('certificate = "site.pem"\ncertificate_key = "site.pem.key"\n', "")
    assert parse(plain).serve is not None
    (mistake,) = mistakes(changed(plain, '"localhost"', '"0.0.0.0"'))
    assert mistake.startswith("serve.certificate_key: found nothing, expected a certificate: without TLS")


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(changed(TEXT, "policy.cedar", "/etc/policy.cedar").replace("renkei.science.fusion", "lab/mine.py"))
    found = load_site(path)
    assert found.site.key == tmp_path / "keys/us-fusion-lab.key"
    assert found.site.agreement == tmp_path / "agreement.toml"
    assert found.site.policy == Path("/etc/policy.cedar")
    assert found.site.data == tmp_path / "data"
    assert found.procedures[0].use == tmp_path / "lab/mine.py"
    assert found.commands[0].command[0] == str(tmp_path / "simulate")


def test_a_module_stays_a_name() -> None:
    assert parse(TEXT).procedures[0].use == "renkei.science.fusion"


def test_a_program_that_is_on_the_path_stays_a_name() -> None:
    assert parse(changed(TEXT, "./simulate", "simulate")).commands[0].command[0] == "simulate"


def test_a_folder_with_braces_in_its_name_is_no_placeholder() -> None:
    command = parse_site(TEXT, folder=Path("/a{b}c")).commands[0].command
    assert command[0].format_map({}) == "/a{b}c/simulate"


def test_limits_are_seconds_and_bytes() -> None:
    site = parse(TEXT)
    assert site.executor == ExecutorTable(kind="local", workers=3, memory_bytes=2 * 10**9, time_limit_s=1200.0)
    offered = site.procedures[0]
    assert (offered.time_limit_s, offered.memory_bytes, offered.exceeded) == (60.0, 10**9, "infeasible")
    assert offered.charge == Charge(unit="node-hour", per_hour=1.0)
    assert site.allocations[0].quantity == Quantity.parse("40 node-hour")


def test_what_may_be_left_out_has_a_default() -> None:
    text = 'site = { name = "a", institution = "i", key = "k" }\nprocedures = [{ use = "mylab" }]'
    site = parse(text)
    assert (site.site.agreement, site.site.policy, site.site.data) == (None, None, FOLDER / "data")
    assert site.executor == ExecutorTable(kind="local", workers=2, memory_bytes=None, time_limit_s=600.0)
    assert (site.commands, site.allocations) == ((), ())
    assert site.procedures[0].model_dump() == {
        "charge": {"unit": "run", "per_hour": None, "per_run": 1.0},
        "time_limit_s": None,
        "memory_bytes": None,
        "exceeded": "failed",
        "resources": {
            "nodes": 1,
            "processes": 1,
            "cores": 1,
            "gpus": 0,
            "memory": None,
            "exclusive": False,
            "queue": None,
            "account": None,
            "reservation": None,
        },
        "use": "mylab",
        "only": (),
    }


def test_a_command_is_a_procedure() -> None:
    command = parse(TEXT).commands[0]
    assert command.spec == ProcedureSpec(
        name="lab.simulate",
        version="1.0",
        summary="Simulate.",
        parameters=(
            Real("x", 0.5, 2.0, "kA", log=True),
            Integer("n", 1, 9, "m", log=True),
            Choice("m", ("a", 2, True)),
        ),
        outputs=(Output("y", "K"), Output("field", "1", "file")),
        defaults={"m": "a"},
        kind="measurement",
    )
    assert command.files == {"field": "field.h5"}
    assert command.infeasible_exit_codes == (3,)
    assert ProcedureSpec.from_json(command.spec.to_json()) == command.spec


def test_a_command_may_be_short() -> None:
    command = CommandFile.model_validate(
        {"name": "lab.run", "version": "1", "command": ["run"], "outputs": {"f": {"type": "file"}}}
    )
    assert (command.summary, command.kind, command.outputs_file) == ("", "simulation", "outputs.json")
    assert (command.infeasible_exit_codes, command.files) == ((), {"f": "f"})
    assert command.spec.parameters == ()


def test_all_mistakes_are_reported_at_once() -> None:
    text = """
[site]
name = "a"
key = 3
[executor]
kind = "slurn"
workers = 0
memory = "2 GX"
time_limit = 60
[[procedures]]
use = "a b"
only = ["x.y", "x.y"]
charge = { unit = "nodehour", per_hour = 1, per_run = 1 }
exceeded = "boom"
[[procedures]]
use = "lab.py"
charge = { unit = "run" }
[[procedures]]
use = "lab.py"
charge = { unit = "run", per_hour = -1 }
[[commands]]
name = "lab.simulate"
command = ["./sim", "{x}", "{z}", "{x!r}", "{x:.3f}", "{", "{}", "{run}"]
outputs_file = "../outputs.json"
infeasible_exit_codes = [0, 256]
parameters.x = { type = "real", low = 1.0, high = 0.0, unit = "furlongz" }
parameters.run = { type = "rael" }
parameters.k = { low = 1 }
parameters.c = { type = "choice", values = [1, 1.0] }
parameters.d = { type = "choice", value = [1, 2] }
outputs.y = { unit = "K", path = "/x" }
outputs.z = { unit = "K", path = "x" }
outputs."f f" = { type = "file", unit = "K" }
[[commands]]
name = "lab.simulate"
version = "1"
command = []
outputs = {}
parameters.x = { type = "real", low = 0, high = 1 }
defaults = { x = 2, q = 1 }
[[allocations]]
team = "a"
quantity = "3 run"
[[allocations]]
team = "a"
quantity = "4 run"
[[allocations]]
team = "a"
quantity = "4 sample"
"""
    known = "{x}, {run}, {k}, {c}, {d}, {directory}"
    below = "expected a path below the run's directory"
    assert mistakes(text) == [
        "site.institution: found nothing, expected the institution that runs it, as the agreement has it",
        "site.key: found 3, expected the path of a file or folder",
        "executor.kind: found 'slurn', expected one of local, slurm, pbs, pjm, flux, iri. Did you mean 'slurm'?",
        "executor.workers: found 0, expected a number of at least 1",
        "executor.memory: found '2 GX', expected a size such as '2 GB' or '512 MiB'",
        "executor.time_limit: found 60, expected a duration such as '90 s', '15 min' or '2 h'",
        "procedures#1.charge.unit: found 'nodehour', expected one of node-hour, core-hour, gpu-hour, instrument-hour,"
        " sample, token, USD, run. Did you mean 'node-hour'?",
        "procedures#1.charge.per_run: found 1, expected exactly one of per_hour and per_run",
        "procedures#1.exceeded: found 'boom', expected one of failed, infeasible",
        "procedures#1.use: found 'a b', expected a Python module such as 'renkei.science.fusion' or a file such as"
        " 'mylab.py'",
        "procedures#1.only: found ['x.y', 'x.y'], expected every entry once, but 'x.y' is there twice",
        "procedures#2.charge.per_run: found nothing, expected exactly one of per_hour and per_run",
        "procedures#3.charge.per_hour: found -1, expected a number of at least 0",
        "commands#1.version: found nothing, expected a new version for every change of meaning",
        "commands#1.parameters.x.high: found 0.0, expected more than low (1)",
        "commands#1.parameters.x.unit: found 'furlongz', expected a unit such as 'K', 'kA', 'mmol/g/h' or '1'",
        "commands#1.parameters.run: found 'run', expected another name: {run} stands for the run's own",
        "commands#1.parameters.run.type: found 'rael', expected one of real, integer, choice. Did you mean 'real'?",
        "commands#1.parameters.k.type: found nothing, expected one of real, integer, choice",
        "commands#1.parameters.c.values: found [1, 1.0], expected every value once, but 1.0 is there twice",
        "commands#1.parameters.d.values: found nothing, expected the values: texts, numbers or booleans",
        "commands#1.parameters.d.value: found an unknown key, expected one of type, values. Did you mean 'values'?",
        f"commands#1.outputs.y.path: found '/x', {below}",
        "commands#1.outputs.z.path: found 'x', expected no path: only an output of type file has one",
        "commands#1.outputs.\"f f\": found 'f f', expected letters, digits and '_', beginning with a letter",
        "commands#1.outputs.\"f f\".unit: found 'K', expected no unit: an output of type file has none",
        f"commands#1.command: found {{z}}, expected one of {known}",
        f"commands#1.command: found {{x!r}}, expected one of {known}",
        f"commands#1.command: found {{x:.3f}}, expected one of {known}",
        "commands#1.command: found '{', expected placeholders such as {x}, and {{ for a brace: Single '{' encountered"
        " in format string",
        f"commands#1.command: found {{}}, expected one of {known}",
        f"commands#1.outputs_file: found '../outputs.json', {below}",
        "commands#1.infeasible_exit_codes#1: found 0, expected a number of at least 1",
        "commands#1.infeasible_exit_codes#2: found 256, expected a number of at most 255",
        "commands#2.name: found 'lab.simulate', expected another one: there already is this command",
        "commands#2.defaults: q: no such parameter",
        "commands#2.defaults: x: 2 is outside [0.0, 1.0]",
        "commands#2.outputs: found a table, expected at least 1 of them",
        "commands#2.command: found [], expected at least 1 of them",
        "allocations#2.quantity: found '4 run', expected one allocation for each team and unit, but a has another one"
        " in run",
    ]


def test_a_broken_parameter_has_no_default_to_check() -> None:
    text = changed(TEXT, "low = 0.5", "low = 5.0").replace('defaults = { m = "a" }', "defaults = { q = 1 }")
    assert mistakes(text) == ["commands#1.parameters.x.high: found 2.0, expected more than low (5)"]


def test_placeholders_of_one_command_are_not_those_of_the_next() -> None:
    commands = """
[[commands]]
name = "lab.a"
version = "1"
command = ["a", "{x}"]
parameters.x = { type = "real", low = 0, high = 1 }
outputs.y = {}
[[commands]]
name = "lab.b"
version = "1"
command = ["b", "{x}"]
outputs.y = {}
"""
    found = mistakes('site = { name = "a", institution = "i", key = "k" }' + commands)
    assert found == ["commands#2.command: found {x}, expected one of {directory}, {run}"]


@pytest.mark.parametrize("path", ["", "/data/x", "../x", "a/../x", "."])
def test_an_output_file_lies_below_the_directory_of_the_run(path: str) -> None:
    assert mistakes(changed(TEXT, "out.json", path))[0].startswith("commands#1.outputs_file: found")
