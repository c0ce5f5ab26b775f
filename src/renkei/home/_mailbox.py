"""How other commands ask something of the process that works in a home: files in `requests/`.

A request is one JSON file; its answer is another one beside it. Both appear in one step. Only who may write in the
home can ask.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from renkei.clock import Clock
from renkei.errors import RenkeiError, Unreachable, UsageError
from renkei.home._home import Home
from renkei.ids import IdMint

POLL_S = 0.1
"""How often either side looks."""
ANSWER_S = 15.0
"""How long an answer is waited for."""

Answer = Callable[[str, Mapping[str, str]], Awaitable[str]]


class Mailbox:
    """The requests to the process that works in a home."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._folder, self._clock = home.path / "requests", clock

    async def serve(self, answer: Answer) -> None:
        """Answer requests until cancelled. Who asked so long ago that nobody waits any more is not answered."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if self._clock.now() - path.stat().st_mtime > ANSWER_S:
                path.unlink(missing_ok=True)
        while True:
            await self._clock.sleep(POLL_S)
            for path in sorted(self._folder.glob("*.request")):
                try:
                    request = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
                    reply = {"said": await answer(request.pop("verb"), request)}
                except RenkeiError as error:
                    reply = {"problem": error.message, "hint": error.hint}
                except (OSError, ValueError, LookupError) as error:
                    reply = {"problem": f"The request is not readable: {error}.", "hint": ""}
                path.unlink(missing_ok=True)
                _write(path.with_suffix(".answer"), reply)

    async def ask(self, verb: str, arguments: Mapping[str, str]) -> str:
        """Ask the process that works here; return its one line for people.

        Raises:
            UsageError: It says no, and why.
            Unreachable: It did not answer.
        """
        path = self._folder / f"{IdMint(self._clock).new()}.request"
        _write(path, {"verb": verb, **arguments})
        answer = path.with_suffix(".answer")
        end = self._clock.monotonic() + ANSWER_S
        while self._clock.monotonic() < end:
            await self._clock.sleep(POLL_S)
            if answer.exists():
                reply = json.loads(answer.read_text())
                answer.unlink(missing_ok=True)
                if "problem" in reply:
                    raise UsageError(reply["problem"], reply["hint"])
                return str(reply["said"])
        path.unlink(missing_ok=True)
        raise Unreachable("The process that works in this home does not answer.", "What became of it is unknown.")


def _write(path: Path, content: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content))
    os.replace(part, path)
