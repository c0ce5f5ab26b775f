"""The command line: `renkei NOUN VERB [NAME]`.

Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 unreachable, 5 outcome unknown, 130 interrupted. An error is one
sentence on stderr and what to do next; with `--json` it is one JSON object there, and stdout then holds records and
nothing else. Each noun's module is imported when one of its verbs is used, so that `renkei --help` starts at once.
"""

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import renkei
from renkei.cli._errors import explain
from renkei.cli._lazy import add_command, add_noun
from renkei.errors import UsageError, did_you_mean

VARIABLES = ("RENKEI_HOME",)
"""Every environment variable that renkei reads."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Joint AI-driven discovery campaigns across laboratories that stay sovereign.",
)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"renkei {renkei.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from; may stand anywhere.")] = False,
) -> None:
    del version, debug  # --debug is taken out before the rest is read, so that it may stand anywhere
    for name in sorted(os.environ):
        if name.startswith("RENKEI_") and name not in VARIABLES:
            raise UsageError(
                f"The environment variable {name} means nothing to renkei.{did_you_mean(name, VARIABLES)}",
                f"Unset it. Known: {', '.join(VARIABLES)}.",
            )


root = typer.main.get_command(app)
add_command(root, "demo", "Run joint campaigns over five sites of two nations.")
add_noun(root, "campaign", "Run campaigns, resume them, show what they found.")
add_noun(root, "run", "Find runs, look into one, approve, deny or cancel it.")
add_noun(root, "site", "Show sites: what they offer, to whom, and what is left.")
add_noun(root, "procedure", "Show procedures: what they take and give, and who offers them.")
add_noun(root, "dataset", "Find the datasets that runs left behind, and fetch them.")
add_noun(root, "agreement", "Write, check, sign and show agreements.")
add_noun(root, "sim", "Run whole federations on virtual time, with everything going wrong.")
add_noun(root, "ledger", "Read ledgers, verify them, and prove single records.")


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are told, never raised.

    Args:
        args: The words after `renkei`; those that the process was called with when left out.
    """
    gc.set_threshold(20_000, 20, 50)  # rows live long: looking through them all again and again finds nothing
    given = list(sys.argv[1:] if args is None else args)
    words = [word for word in given if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a sign gets "?" and not an error
            stream.reconfigure(errors="replace")
    try:
        code = root.main(words, prog_name="renkei", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the one place where every error becomes an exit code
        return explain(error, as_json="--json" in words, is_debug=words != given)
    return code if isinstance(code, int) else 0
