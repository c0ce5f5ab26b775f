"""How a test sets up a stand-in, makes it fail, and looks at what it was asked."""

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal

_COMMANDS = {
    "pbs": ("qsub", "qstat", "qselect", "qdel", "qhold", "qrls"),
    "pjm": ("pjsub", "pjstat", "pjdel", "pjhold", "pjrls"),
    "flux": ("flux",),
}

Fault = Literal["late", "hang", "hang-after", "down", "refuse", "lost-answer", "garbage", "lose"]
"""late: answers after `text` seconds; hang: never does anything; hang-after: does it and never answers; down: its
server cannot be reached; refuse: says `text` and fails; lost-answer: does it and says that the server cannot be
reached; garbage: does it and answers `text`, or bytes that mean nothing; lose: takes jobs and forgets them."""


class StandIn:
    """A batch system that is not there: commands in `bin`, to be put first on PATH, with their state in a folder.

    Args:
        kind: "pbs", "pjm" or "flux".
        folder: A folder of its own.
        settings: How it behaves, by the names of `renkei.testing.standins.programs.engine.Settings`.
    """

    def __init__(self, kind: str, folder: Path, **settings: Any) -> None:
        self.kind, self.folder, self.bin = kind, folder, folder / "bin"
        self.bin.mkdir(parents=True)
        here = Path(__file__).parent
        for command in _COMMANDS[kind]:
            code = f"import sys; sys.path.insert(0, {str(here)!r}); from programs.{kind} import run; run()"
            argv = [sys.executable, "-I", "-S", "-B", "-c", code, str(folder), command]
            program = self.bin / command
            program.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
            program.chmod(0o755)
        self.set(**settings)

    def set(self, **settings: Any) -> None:
        """Change how it behaves from now on."""
        path = self.folder / "settings.json"
        known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self._write(path, known | settings)

    def fail(self, command: str, kind: Fault, text: str = "", *, code: int = 1, times: int = 1) -> None:
        """Have the next calls of a command fail; `text` and `code` as `Fault` says."""
        path = self.folder / "faults.json"
        known: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        self._write(path, [*known, {"command": command, "kind": kind, "text": text, "code": code, "times": times}])

    def heal(self) -> None:
        """Forget all faults."""
        self._write(self.folder / "faults.json", [])

    def calls(self, command: str = "") -> list[list[Any]]:
        """Return what was asked so far: time, command, arguments."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if command in ("", call[1])]

    def jobs(self) -> list[dict[str, Any]]:
        """Return its jobs as it keeps them."""
        path = self.folder / "state.json"
        return list(json.loads(path.read_text())["jobs"].values()) if path.exists() else []

    def stop(self) -> None:
        """End every process that it started and wait until they are gone."""
        self.set(slots=0)
        for _ in range(200):
            alive = [job for job in self.jobs() if job["state"] in ("starting", "running", "ending")]
            pids = [pid for job in alive for pid in (job["supervisor"], -job["group"]) if pid and _is_alive(pid)]
            if not pids:
                return
            for pid in pids:
                _kill(pid)
            time.sleep(0.02)

    def _write(self, path: Path, value: Any) -> None:
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(value))
        os.replace(part, path)


def _is_alive(pid: int) -> bool:
    """Return whether a process, or of a negative number its group, still runs; one that nobody waits for does not."""
    try:
        os.kill(pid, 0) if pid > 0 else os.killpg(-pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{abs(pid)}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return pid < 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL) if pid > 0 else os.killpg(-pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
