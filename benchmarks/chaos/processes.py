"""The processes that are harmed: started, killed, stopped, started again, and timed until they are back."""

import ctypes
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.chaos.place import SITES, Place

SKEWED = Path(__file__).with_name("skewed.py")
RESTART_S = 0.3
"""How soon a process is started again that ended by itself."""


class Witness(NamedTuple):
    """What a ledger held at an instant when nobody wrote it: the last record's number and hash."""

    who: str
    seq: int
    hash: bytes


@dataclass
class Recovery:
    """From the start of a killed process until it was back.

    Args:
        who: The process.
        seconds: How long it took.
        cpu_s: The processor time that it took, which a busy machine does not stretch.
        is_disturbed: Whether something else that it needs was harmed meanwhile.
    """

    who: str
    seconds: float
    cpu_s: float
    is_disturbed: bool


@dataclass
class Log:
    """What happened, for the result."""

    recoveries: list[Recovery] = field(default_factory=list[Recovery])
    witnesses: list[Witness] = field(default_factory=list[Witness])
    exits: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    """Processes that ended by themselves: who, exit code, last words."""
    n_killed_again: int = 0
    """Kills that hit a process that was not back yet."""


class Process:
    """A renkei process under a supervisor that starts it again, as an operator's would.

    Args:
        who: "east", "west" or "campaign".
        place: Where it works.
        log: Where is noted what happened.
    """

    def __init__(self, who: str, place: Place, log: Log) -> None:
        self.who, self._place, self._log = who, place, log
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = time.monotonic()
        self.offset_s = self.drift = 0.0
        self.is_ready = self.is_paused = self.is_over = False
        self.disturbed = False
        self._recovering_since: float | None = None
        self._size = 0
        self._out = place.folder / f"{who}.out"
        self._err = place.folder / f"{who}.err"
        self._out_size = 0

    @property
    def pid(self) -> int:
        """Its id; 0 while there is none."""
        return 0 if self.process is None else self.process.pid

    @property
    def ledger_name(self) -> str:
        """Whose ledger it writes."""
        return self.who

    def words(self) -> list[str]:
        """Return the arguments of the renkei command that it is."""
        return ["site", "serve", f"{self.who}.toml"]

    def start(self) -> None:
        """Start it."""
        skew = [str(SKEWED), f"{self.offset_s}", f"{self.drift}"] if self.offset_s or self.drift else ["-m", "renkei"]
        with open(self._out, "ab") as out, open(self._err, "ab") as err:
            self._out_size = out.tell()
            self.process = subprocess.Popen(
                [sys.executable, *skew, *self.words()],
                cwd=self._place.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self.is_ready = False
        if self._recovering_since == 0.0:
            self._recovering_since = time.monotonic()

    def kill(self, *, is_group: bool) -> None:
        """Kill it, alone or with all that it started; note what its ledger then held."""
        assert self.process is not None
        (os.killpg if is_group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        if self._recovering_since:
            self._log.n_killed_again += 1
        self._recovering_since = 0.0
        self.is_ready = self.is_paused = self.disturbed = False
        witness = _last_of(self.ledger_name, self._place)
        self._size = 0 if witness is None else witness.seq + 1
        if witness is not None:
            self._log.witnesses.append(witness)

    def children(self) -> list[int]:
        """Return the processes that it started and that are still there."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def pause(self) -> None:
        """Stop it and all that it started, until `go_on`."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGSTOP)
            self.is_paused = True

    def go_on(self, pid: int) -> None:
        """Have it go on, if it is still the process that was stopped."""
        if self.process is not None and self.process.pid == pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)
        self.is_paused = False

    def look(self) -> int | None:
        """Notice that it is back, or that it ended by itself; return its exit code then."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is not None:
            self.process, self.is_ready = None, False
            self._log.exits.append((self.who, code, _last_line(self._err)))
            self.start_at = time.monotonic() + RESTART_S
            return code
        if not self.is_ready and self._is_back():
            self.is_ready = True
            if self._recovering_since:
                seconds = time.monotonic() - self._recovering_since
                self._log.recoveries.append(Recovery(self.who, seconds, _cpu_s(self.process.pid), self.disturbed))
            self._recovering_since = None
        return None

    def _is_back(self) -> bool:
        """Return whether it says that it takes requests, which it does only once it wrote that it opened."""
        with open(self._out, "rb") as out:
            out.seek(self._out_size)
            return b"ready http" in out.read()

    def end(self) -> None:
        """End it and all that it started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def ask_to_end(self, limit_s: float = 20.0) -> int:
        """Ask it to end; return its exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        code = self.process.wait(limit_s)
        self.process = None
        return code


class Driver(Process):
    """The process that drives campaigns, one after another."""

    def __init__(self, place: Place, log: Log) -> None:
        super().__init__("campaign", place, log)
        self.n = 0
        self.is_last = False
        self.name = place.write_campaign(0)

    @property
    def ledger_name(self) -> str:
        """See `Process.ledger_name`."""
        return self.name

    def words(self) -> list[str]:
        """See `Process.words`: a campaign that was begun is taken up."""
        home = ["--home", str(self._place.home), "--json"]
        if (self._place.home / "campaigns" / self.name / "campaign.toml").exists():
            return ["campaign", "resume", self.name, *home]
        return ["campaign", "run", f"{self.name}.toml", "--agreement", "agreement.toml", *home]

    def look(self) -> int | None:
        """See `Process.look`: when a campaign is over, the next one is begun."""
        code = super().look()
        if code == 0:  # it was back, and had nothing more to write down
            self._size, self._recovering_since = 0, None
            self.is_over = self.is_last
            if not self.is_last:
                self.n += 1
                self.name = self._place.write_campaign(self.n)
        return code

    def _is_back(self) -> bool:
        """Return whether it wrote something down since."""
        witness = _last_of(self.name, self._place)
        return witness is not None and witness.seq >= self._size


def _last_of(who: str, place: Place) -> Witness | None:
    """Return the last record of a ledger; None where there is none yet."""
    path = place.ledger(who)
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
        try:
            row = db.execute("SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.OperationalError:  # it has no tables yet
            return None
    return None if row is None else Witness(who, *row)


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _last_line(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 500))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def sites(place: Place, log: Log) -> dict[str, Process]:
    """Return the processes of the sites, not started yet."""
    return {name: Process(name, place, log) for name in SITES}
