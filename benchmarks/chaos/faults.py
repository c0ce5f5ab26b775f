"""The seeded driver: supervises processes and harms them at random instants, until enough were killed."""

# pyright: basic
# What the tests have for Slurm lies where the type checker does not look.

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

from benchmarks.chaos.line import FAULTS, Line
from benchmarks.chaos.place import SITES, Place
from benchmarks.chaos.processes import Driver, Log, Process, sites
from benchmarks.chaos.slurm import Cluster  # pyright: ignore[reportAttributeAccessIssue]

TICK_S = 0.02
CALM_S = 240.0
"""How long everything may take to end once nothing is harmed any more."""
OVERTIME = 1.5
"""How many times longer than it was given it may take at most to kill as many as were asked for."""
AIM_S = 0.5
"""How long an aimed kill waits for its target to write something down."""
SPARED_S = 80.0
"""How long site west is left alone after Slurm's controller was killed: it gives a job up that the controller forgot
only after it looked for it for a minute."""
OPERATOR_S = 3.0
"""How often an operator gives nodes back that a restarted slurmctld took out of service."""


class Chaos:
    """One run: starts everything, harms it, calms down, and stops it.

    Args:
        place: Where.
        seed: Rules what is harmed, how, how long; instants are the machine's.
        n_kills: How many processes are to be killed.
        minutes: How long that may take.
        cluster: The Slurm behind site west; None where there is none.
    """

    def __init__(self, place: Place, seed: int, n_kills: int, minutes: float, cluster: Cluster | None) -> None:
        self._place, self._n_kills, self._limit_s, self._cluster = place, n_kills, 60.0 * minutes, cluster
        self._chance = random.Random(seed)
        self.log = Log()
        self.loads: list[float] = []
        """The machine's load, every so often."""
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sites = sites(place, self.log)
        self.driver = Driver(place, self.log)
        self.processes: dict[str, Process] = {**self.sites, "campaign": self.driver}
        self.lines = {site: Line(place.ports[f"{site}-line"], place.ports[site]) for site in SITES}
        self._controller_at: float | None = None
        self._spared_until = 0.0
        self._harms: dict[str, asyncio.Task[None]] = {}
        self._is_calm = False

    @property
    def n_killed(self) -> int:
        """How many processes were killed so far."""
        return self.kills.total()

    async def run(self) -> str:
        """Run to the end; return what did not end in time, or nothing."""
        supervisor = asyncio.create_task(self._supervise())
        operator = asyncio.create_task(self._operate())
        try:
            for line in self.lines.values():
                await line.__aenter__()
            began = time.monotonic()
            while self.n_killed < self._n_kills and time.monotonic() - began < OVERTIME * self._limit_s:
                await asyncio.sleep(self._pause(time.monotonic() - began))
                await self._harm()
                if supervisor.done():  # it never ends by itself: this tells why
                    await supervisor
            await asyncio.gather(*self._harms.values())
            few = self._n_kills - self.n_killed
            return await self._calm_down() or (f"{few} kills too few in the time that there was" if few > 0 else "")
        finally:
            for task in (supervisor, operator, *self._harms.values()):
                task.cancel()
            for line in self.lines.values():
                await line.__aexit__()
            for process in self.processes.values():
                process.end()

    def _pause(self, elapsed_s: float) -> float:
        """Return how long to wait for the next fault, so that all kills fit into the time that there is."""
        per_kill_s = max(1.0, self._limit_s - elapsed_s) / max(1, self._n_kills - self.n_killed)
        return self._chance.expovariate(1.0 / per_kill_s)

    # ---- supervision -----------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        while True:
            now = time.monotonic()
            for process in self.processes.values():
                if process.is_over:
                    continue
                if process.process is None and now >= process.start_at:
                    self._skew(process)
                    process.start()
                process.look()
                if not process.is_ready and self._is_disturbed(process):
                    process.disturbed = True
            if self._controller_at is not None and now >= self._controller_at and self._cluster is not None:
                self._controller_at = None
                self._cluster.start_controller()
            await asyncio.sleep(TICK_S)

    def _skew(self, process: Process) -> None:
        """Draw how wrong the clock of a process is that is about to start."""
        process.offset_s = process.drift = 0.0
        if not self._is_calm and self._chance.random() < 0.3:
            process.offset_s = max(-60.0, min(60.0, self._chance.gauss(0.0, 15.0)))
            process.drift = self._chance.gauss(0.0, 0.001)
            self.faults["clock skewed"] += 1

    def _is_disturbed(self, process: Process) -> bool:
        """Return whether something is harmed that a process needs to come back."""
        disk = self._harms.get(f"disk {_disk_of(process)}")
        if process.is_paused or (disk is not None and not disk.done()):
            return True
        if not isinstance(process, Driver):
            return False
        is_slow = any(line.fault for line in self.lines.values()) or any(s.is_paused for s in self.sites.values())
        return is_slow or not any(site.is_ready for site in self.sites.values())

    async def _operate(self) -> None:
        while True:
            await asyncio.sleep(OPERATOR_S)
            self.loads.append(os.getloadavg()[0])
            if self._controller_at is None and self._cluster is not None:
                with suppress(Exception):  # the controller may have just been killed
                    await asyncio.to_thread(self._cluster.resume)

    # ---- faults ----------------------------------------------------------------------------------------------

    async def _harm(self) -> None:
        self._harms = {what: task for what, task in self._harms.items() if not task.done()}
        kind = self._chance.choices(("kill", "line", "pause", "disk"), (78, 9, 7, 6))[0]
        if kind == "kill":
            await self._kill()
        elif kind == "line":
            site, fault, seconds = self._chance.choice([*SITES]), self._chance.choice(FAULTS), self._length(6.0)
            self._begin(f"line {site}", f"line {fault}", self._harm_line(site, fault, seconds))
        elif kind == "pause":
            process, seconds = self.processes[self._chance.choice([*self.processes])], self._length(4.0)
            if process.process is not None:
                self._begin(f"pause {process.who}", f"{process.who} stopped", self._harm_pause(process, seconds))
        elif self._place.disks:
            name, seconds = self._chance.choice([*self._place.disks]), self._length(6.0)
            self._begin(f"disk {name}", f"disk of {name} full", self._harm_disk(name, seconds))

    def _length(self, most_s: float) -> float:
        return self._chance.uniform(0.2, most_s)

    def _begin(self, what: str, counted: str, harm: Coroutine[object, object, None]) -> None:
        if what in self._harms:
            harm.close()
            return
        self.faults[counted] += 1
        self._harms[what] = asyncio.create_task(harm)

    async def _harm_line(self, site: str, fault: str, seconds: float) -> None:
        self.lines[site].harm(fault)
        await asyncio.sleep(seconds)
        self.lines[site].mend()

    async def _harm_pause(self, process: Process, seconds: float) -> None:
        pid = process.pid
        process.pause()
        await asyncio.sleep(seconds)
        process.go_on(pid)

    async def _harm_disk(self, name: str, seconds: float) -> None:
        disk = self._place.disks[name]
        await asyncio.to_thread(disk.fill)
        await asyncio.sleep(seconds)
        disk.free()

    async def _kill(self) -> None:
        """Kill one process or several at once: renkei's, a worker of a site, or one of Slurm's."""
        what = self._chance.choices(("renkei", "worker", "slurmctld"), (92, 7, 1 if self._cluster else 0))[0]
        if what == "worker":
            workers = self.sites["east"].children()
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(self._chance.choice(workers), signal.SIGKILL)
                    self.kills["worker"] += 1
            return
        if what == "slurmctld":
            if self._cluster is not None and self._controller_at is None:
                self._cluster.kill_controller()
                self.kills["slurmctld"] += 1
                self._controller_at = time.monotonic() + self._chance.uniform(0.1, 1.5)
                self._spared_until = time.monotonic() + SPARED_S
            return
        n = self._chance.choices((1, 2, 3), (70, 20, 10))[0]
        within_reach = [p for p in self.processes.values() if p.who != "west" or time.monotonic() >= self._spared_until]
        targets = sorted(within_reach, key=self._luck_of)[:n]
        is_group, is_aimed = self._chance.random() < 0.5, self._chance.random() < 0.4
        down_s = self._chance.choice((0.0, 0.0, 0.2, 1.0))
        if is_aimed:
            await self._aim(targets[0])
            await asyncio.sleep(self._chance.uniform(0.0, 0.03))
        for process in targets:
            if process.process is not None and process.process.poll() is None:
                phase = "at work" if process.is_ready else "starting"
                process.kill(is_group=is_group)
                process.start_at = time.monotonic() + down_s
                self.kills[process.who] += 1
                self.faults[f"killed {phase}"] += 1

    def _luck_of(self, process: Process) -> float:
        """Return a random number; a process that is at work is hit before one that is only starting, as a rule."""
        return self._chance.random() * (1.0 if process.is_ready else 3.0)

    async def _aim(self, process: Process) -> None:
        """Wait until a process has just written something down."""
        path = self._place.ledger(process.ledger_name)
        log = path.with_name(f"{path.name}-wal")
        before, until = _stamp(log), time.monotonic() + AIM_S
        while _stamp(log) == before and time.monotonic() < until:
            await asyncio.sleep(0.002)

    # ---- the end ---------------------------------------------------------------------------------------------

    async def _calm_down(self) -> str:
        """Harm nothing any more, let the campaign end, then stop the sites; return what did not end."""
        self._is_calm = True
        self.driver.is_last = True
        until = time.monotonic() + CALM_S
        while not (self.driver.is_over and all(site.is_ready for site in self.sites.values())):
            if time.monotonic() > until:
                return f"campaign {self.driver.name} did not end within {CALM_S:g} s of calm"
            await asyncio.sleep(0.1)
        while live := {site: n for site in SITES if (n := self._n_live(site))}:
            if time.monotonic() > until:
                return f"runs did not end within {CALM_S:g} s of calm: {live}"
            await asyncio.sleep(0.5)
        for site in self.sites.values():
            site.is_over = True
        codes = {name: await asyncio.to_thread(site.ask_to_end) for name, site in self.sites.items()}
        wrong = {name: code for name, code in codes.items() if code}
        return f"sites ended with codes {wrong} on SIGTERM" if wrong else ""

    def _n_live(self, site: str) -> int:
        from renkei.ledger import LedgerReader
        from renkei.site import RunRow

        with LedgerReader(self._place.ledger(site)) as reader:
            return sum(row.state in ("accepted", "started") for row in reader.table("runs", RunRow).values())


def _disk_of(process: Process) -> str:
    return "campaigns" if isinstance(process, Driver) else process.who


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
