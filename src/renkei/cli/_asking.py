"""Having something done in a home: by the process that works there, or here when there is none."""

import os
import pwd
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import anyio
import typer

from renkei.clock import SystemClock
from renkei.errors import Conflict
from renkei.home import Home
from renkei.home._mailbox import Mailbox

PersonOption = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who decides; left out, the user who is logged in.")
]


def person(name: str | None) -> str:
    """Return in whose name something is done: the name given, or that of the user whose process this is."""
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number that has no name
        return f"user {os.getuid()}"


def ask(home: Home, verb: str, arguments: Mapping[str, str], alone: Callable[[], Awaitable[str]]) -> str:
    """Ask the process that works in a home to do something, or do it `alone` when there is none; return what was said.

    Raises:
        UsageError: It cannot be done; says why.
        Unreachable: The process did not answer.
    """
    try:
        with home.locked():
            return anyio.run(alone)
    except Conflict as error:
        if "pid" not in error.context:
            raise
    return anyio.run(Mailbox(home, SystemClock()).ask, verb, arguments)
