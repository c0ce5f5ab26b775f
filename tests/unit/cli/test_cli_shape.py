"""The command line as a whole: light to start, complete in its help, the same words everywhere."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cli_example import Renkei

import renkei as package
from renkei.cli import root

HEAVY = ("pydantic", "pint", "cryptography", "cedarpy", "anyio", "numpy", "torch", "matplotlib", "renkei.home")


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(word: str) -> None:
    code = f"import sys; from renkei.cli import main; main([{word!r}]); sys.exit(str(set({HEAVY}) & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stderr == "set()\n"


def test_the_version_is_the_packages(renkei: Renkei) -> None:
    said = renkei("--version")
    assert (said.code, said.out) == (0, f"renkei {package.__version__}\n")


def commands(command: Any = root, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that has no commands of its own, with its path."""
    loaded = command._load() if hasattr(command, "_load") else command
    below = getattr(loaded, "commands", None)
    if below is None:
        yield path, loaded
    for name, each in (below or {}).items():
        yield from commands(each, (*path, name))


EVERY = dict(commands())


def test_every_verb_is_there() -> None:
    nouns = {
        "campaign": "run resume list show report export stop",
        "run": "list show approve deny cancel",
        "site": "list show check serve",
        "procedure": "list show",
        "dataset": "list fetch",
        "agreement": "new check sign show accede revoke",
        "ledger": "verify show prove check-proof",
        "sim": "run compare seeds",
    }
    expected = {(noun, verb) for noun, verbs in nouns.items() for verb in verbs.split()}
    assert expected <= set(EVERY)
    assert set(EVERY) - expected <= {("demo",)}


@pytest.mark.parametrize("path", [path for path in EVERY if path != ("demo",)], ids=" ".join)
def test_every_command_and_every_option_has_a_line_of_help(path: tuple[str, ...]) -> None:
    command = EVERY[path]
    first = command.help.split("\n")[0]
    assert first.endswith(".")
    assert len(first) <= 66, "one line of help on a screen of 80 columns"
    for parameter in command.params:
        assert parameter.help, f"{parameter.name} has no help"
        assert parameter.help.endswith((".", "?")), parameter.help


@pytest.mark.parametrize("path", [path for path in EVERY if path[-1] in ("list", "show")], ids=" ".join)
def test_whatever_lists_or_shows_also_prints_json(path: tuple[str, ...]) -> None:
    assert "--json" in {word for parameter in EVERY[path].params for word in parameter.opts}


def test_a_module_is_the_same_program(renkei: Renkei) -> None:
    said = subprocess.run([sys.executable, "-m", "renkei", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout == renkei("--version").out


def test_nothing_at_all_shows_the_help(renkei: Renkei) -> None:
    said = renkei()
    assert said.code == 2
    assert "campaign" in said.out
    assert said.err == ""
