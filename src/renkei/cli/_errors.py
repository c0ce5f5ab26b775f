"""How errors are told: one sentence on stderr and what to do next, and an exit code."""

import json
import os
import sys
import traceback
from typing import Any, Protocol, runtime_checkable

from renkei.errors import RenkeiError, UsageError

INTERRUPTED = 130

EXTRAS = {
    "botorch": "planner",
    "gpytorch": "planner",
    "torch": "planner",
    "scipy": "planner",
    "numpy": "planner",
    "optuna": "optuna",
    "cmaes": "optuna",
    "ax": "ax",
    "physbo": "physbo",
    "nimo": "nimo",
    "gest_api": "gest",
    "trio": "sim",
    "matplotlib": "report",
    "rocrate": "report",
    "vmecpp": "fusion",
    "olympus": "autolab",
    "olymp": "autolab",
    "pymatching": "quantum",
    "stim": "quantum",
}
"""Packages that only some users need, and the extra of renkei that installs each."""


@runtime_checkable
class _Misuse(Protocol):
    """What Typer raises for wrong arguments; the class itself lives elsewhere from version to version."""

    exit_code: int

    def format_message(self) -> str: ...


def explain(error: BaseException, *, as_json: bool, is_debug: bool) -> int:
    """Tell what went wrong and return the exit code for it."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if _holds(error, BrokenPipeError):
        return _leave_pipe()
    if is_debug:
        traceback.print_exception(error)
    if _holds(error, KeyboardInterrupt):
        _say(RenkeiError("Interrupted."), as_json)
        return INTERRUPTED
    problem = as_problem(error)
    if problem.message:
        _say(problem, as_json)
    return problem.exit_code


def as_problem(error: BaseException) -> RenkeiError:
    """Return an error as one of ours: with a sentence for people, a hint and an exit code."""
    found = _first(error)
    if isinstance(found, RenkeiError):
        return found
    if isinstance(found, _Misuse):
        return _misuse(found)
    if isinstance(found, ModuleNotFoundError) and (found.name or "").split(".")[0] in EXTRAS:
        return missing(found)
    if isinstance(found, OSError) and found.strerror:
        where = f"{found.filename}: " if found.filename else ""
        return RenkeiError(f"{where}{found.strerror}.", "Check the path, its permissions and the space that is left.")
    return RenkeiError(
        f"renkei failed where it should not: {type(found).__name__}: {found}.",
        "This is a bug. Add --debug to see where it happened, and please report it.",
    )


def missing(error: ModuleNotFoundError) -> UsageError:
    """Return what to say when a package is not there that one of renkei's extras installs."""
    package = (error.name or "").split(".")[0]
    return UsageError(
        f"This needs the package '{package}', which is not installed.",
        f"Install it with: pip install 'renkei[{EXTRAS.get(package, 'demo')}]'",
    )


def _misuse(error: Any) -> UsageError:
    message = "" if type(error).__name__ == "NoArgsIsHelpError" else str(error.format_message())
    path = getattr(getattr(error, "ctx", None), "command_path", "renkei")
    return UsageError(message if not message or message.endswith((".", "?")) else f"{message}.", f"See: {path} --help")


def _first(error: BaseException) -> BaseException:
    """Return the error that a group of them is about: the first of ours, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [_first(each) for each in error.exceptions]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
    return next((each for each in inner if isinstance(each, RenkeiError)), inner[0])


def _holds(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_holds(each, kind) for each in error.exceptions)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
    return isinstance(error, kind)


def _say(problem: RenkeiError, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps(problem.to_json(), ensure_ascii=False, default=str) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    text = Text.assemble(("Error: ", "bold red"), problem.message)
    if problem.hint:
        text.append(f"\n{problem.hint}", "dim")
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)


def _leave_pipe() -> int:
    """Whoever read our output has gone: write nothing more, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1
