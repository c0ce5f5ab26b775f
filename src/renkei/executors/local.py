"""Runs jobs in worker processes on this machine.

A worker runs one job at a time and stays alive between jobs, since the first imports of science codes are slow. A
crash, a time limit or a memory limit ends the worker and the job that it was in, and nothing else. Short jobs are
handed to a worker several at a time, so that it need not wait for the next one; what a dead worker had not begun
goes to another.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

from renkei.clock import Clock
from renkei.errors import ExecutorError
from renkei.executors._command import conclude
from renkei.executors._evidence import over_limit
from renkei.executors._frames import Begun, Deframer, Done, Spawned, Task, frame
from renkei.executors._port import Command, Job, JobEnd, JobState, Report
from renkei.model.records import Evidence

AHEAD_S = 0.02
"""How much work, by measured run time, is handed to a worker at once."""
AHEAD_MAX = 512
GRACE_S = 1.0
"""How long a worker may take to obey SIGTERM before SIGKILL."""
WATCH_S = 0.05
"""How often limits are looked at."""
MAX_STILLBORN = 3
"""How many workers may die one after another without beginning a job until their jobs count as failed."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "PYTHONUNBUFFERED": "1",
}
_PAGE = resource.getpagesize()


class LocalExecutor:
    """An `Executor` on this machine.

    Args:
        workers: How many jobs run at the same time; a worker starts when it is first needed.
        directory: Where workers keep their logs.
        clock: Time for limits.
    """

    name = "local"

    def __init__(self, workers: int, directory: Path, clock: Clock) -> None:
        self._n_workers, self._directory, self._clock = workers, directory, clock
        self._workers: list[_Worker] = []
        self._seconds: dict[str, float] = {}
        self._ended: list[JobEnd] = []
        self._cancelled: set[str] = set()  # handed over, not begun, and not wanted any more
        self._wake = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._n_started = self._n_stillborn = 0

    @property
    def slots(self) -> int:
        """See `Executor.slots`."""
        return self._n_workers

    def room(self, procedure: str) -> int:
        """See `Executor.room`."""
        ahead = self._ahead(procedure)
        idle = self._n_workers - len(self._workers)
        return ahead * idle + sum(max(0, ahead - len(w.jobs)) for w in self._workers if w.ending_at is None)

    async def submit(self, jobs: Sequence[Job]) -> None:
        """See `Executor.submit`."""
        batches: dict[_Worker, list[Job]] = {}
        for job in jobs:
            worker = self._pick(job)
            worker.jobs.append(job)
            batches.setdefault(worker, []).append(job)
        for worker, batch in batches.items():
            if not worker.hand(batch) and self._tasks is not None:
                self._tasks.start_soon(self._drain, worker)

    async def cancel(self, run: str) -> None:
        """See `Executor.cancel`. A job handed over but not begun is ended as soon as it begins."""
        for worker in self._workers:
            if worker.begun_at is not None and worker.jobs[0].run == run:
                worker.end("cancelled", self._clock.monotonic())
            elif any(job.run == run for job in worker.jobs):
                self._cancelled.add(run)

    async def settle(self, jobs: Sequence[Job]) -> Sequence[JobEnd]:
        """See `Executor.settle`. Workers die with their site, so only what a command left behind can speak."""
        return [self._by_evidence(job) for job in jobs]

    async def serve(self, report: Report) -> None:
        """See `Executor.serve`."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for worker in self._workers:
                    tasks.start_soon(self._listen, worker)
                tasks.start_soon(self._watch)
                while True:
                    await self._wake.wait()
                    self._wake = anyio.Event()
                    ended, self._ended = self._ended, []
                    if ended:
                        await report(ended)
        finally:
            self._tasks = None
            for worker in self._workers:
                worker.kill()
            for worker in self._workers:
                worker.wait()
            self._workers.clear()

    def look(self, run: str) -> JobState | None:
        """See `Executor.look`."""
        for worker in self._workers:
            for i, job in enumerate(worker.jobs):
                if job.run == run:
                    is_active = i == 0 and worker.begun_at is not None
                    return JobState("active" if is_active else "queued", number=str(worker.process.pid))
        return None

    async def check(self) -> Sequence[str]:
        """See `Executor.check`: a worker process starts and answers."""
        argv = [sys.executable, "-c", "import renkei.executors._worker"]
        try:
            said = await self._clock.blocking(lambda: subprocess.run(argv, capture_output=True, timeout=60))
        except (OSError, subprocess.TimeoutExpired) as error:
            return [f"No worker process can be started: {error}."]
        tail = said.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return [f"A worker process ends with code {said.returncode}: {''.join(tail)}"] if said.returncode else []

    def _ahead(self, procedure: str) -> int:
        seconds = self._seconds.get(procedure)
        return 1 if seconds is None else max(1, min(AHEAD_MAX, int(AHEAD_S / max(seconds, 1e-6))))

    def _pick(self, job: Job) -> "_Worker":
        ahead = self._ahead(job.procedure)
        free = [worker for worker in self._workers if len(worker.jobs) < ahead and worker.ending_at is None]
        knowing = [worker for worker in free if job.procedure in worker.procedures]
        if knowing:
            return min(knowing, key=_n_jobs)
        if len(self._workers) < self._n_workers:
            return self._start_worker()
        candidates = free or [worker for worker in self._workers if worker.ending_at is None] or self._workers
        return min(candidates, key=_n_jobs)

    def _start_worker(self) -> "_Worker":
        self._n_started += 1
        worker = _Worker(self._directory / f"worker-{self._n_started}.log")
        self._workers.append(worker)
        if self._tasks is not None:
            self._tasks.start_soon(self._listen, worker)
        return worker

    async def _listen(self, worker: "_Worker") -> None:
        deframer = Deframer(Begun | Done | Spawned)
        while True:
            try:
                await anyio.wait_readable(worker.channel)
                data = worker.channel.recv(1 << 20)
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            if not data:
                break
            now = self._clock.monotonic()
            for message in deframer.feed(data):
                if isinstance(message, Begun):
                    worker.begun_at, worker.log_size, worker.group = now, message.log_size, 0
                    if worker.jobs[0].run in self._cancelled:
                        worker.end("cancelled", now)
                elif isinstance(message, Done):
                    self._done(worker, message)
                else:
                    worker.group = message.group
        await self._buried(worker)

    def _done(self, worker: "_Worker", done: Done) -> None:
        job = worker.jobs.popleft()
        worker.begun_at, self._n_stillborn = None, 0
        worker.procedures.add(job.procedure)
        known = self._seconds.get(job.procedure)
        self._seconds[job.procedure] = done.seconds if known is None else 0.8 * known + 0.2 * done.seconds
        if worker.ending_at is not None and done.outcome == "failed":  # the command obeyed before the worker did
            self._report(_death(job, worker, done.exit_code or 0, done.seconds))
            return
        if done.fault == "memory" and job.memory_bytes:
            self._report(over_limit(job, "memory", done.seconds, None))
            return
        evidence = None
        if done.tail or done.exit_code is not None:
            directory = job.directory if isinstance(job.target, Command) else ""
            evidence = Evidence(exit_code=done.exit_code, tail=done.tail, directory=directory)
        is_retryable = done.outcome == "failed" and done.fault == "facility"
        end = JobEnd(job.run, done.outcome, done.seconds, done.outputs, done.files, done.fault, is_retryable)
        if done.message or evidence is not None:
            end = msgspec.structs.replace(end, message=done.message, evidence=evidence)
        self._report(end)

    async def _drain(self, worker: "_Worker") -> None:
        while not worker.flush():
            await anyio.wait_writable(worker.channel)

    async def _buried(self, worker: "_Worker") -> None:
        """A worker is gone: end the job that it was in, hand what it had not begun to others."""
        self._workers.remove(worker)
        code = await self._clock.blocking(worker.wait)
        jobs = list(worker.jobs)
        now = self._clock.monotonic()
        if worker.begun_at is not None:
            self._report(_death(jobs.pop(0), worker, code, now - worker.begun_at))
        elif jobs:
            self._n_stillborn += 1
            if self._n_stillborn >= MAX_STILLBORN:
                self._report(_death(jobs.pop(0), worker, code, 0.0))
        if jobs and self._tasks is not None:
            await self.submit(jobs)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(WATCH_S)
            now = self._clock.monotonic()
            for worker in self._workers:
                if worker.ending_at is not None:
                    if now - worker.ending_at > GRACE_S:
                        worker.kill()
                elif worker.begun_at is not None:
                    job = worker.jobs[0]
                    if now - worker.begun_at > job.time_limit_s:
                        worker.end("time", now)
                    elif job.memory_bytes and worker.memory_bytes() > job.memory_bytes:
                        worker.end("memory", now)

    def _report(self, end: JobEnd) -> None:
        self._cancelled.discard(end.run)
        self._ended.append(end)
        self._wake.set()

    def _by_evidence(self, job: Job) -> JobEnd:
        directory = Path(job.directory)
        if isinstance(job.target, Command) and (directory / "exit_code").is_file():
            code = int((directory / "exit_code").read_text())
            seconds = _seconds_between(directory / "request.json", directory / "exit_code")
            done = conclude(0, job.target, directory, code, seconds)
            evidence = Evidence(exit_code=code, tail=done.tail, directory=job.directory)
            is_retryable = done.outcome == "failed"
            return JobEnd(
                job.run, done.outcome, seconds, done.outputs, done.files, done.fault, is_retryable, done.message,
                evidence,
            )  # fmt: skip
        return JobEnd(job.run, "lost", retryable=True, message="the site stopped while it ran and left no evidence")


class _Worker:
    """One worker process, and what it was handed in order; the first of `jobs` is the one that it is in."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.jobs: deque[Job] = deque()
        self.procedures: set[str] = set()
        self.begun_at: float | None = None
        self.ending_at: float | None = None
        self.why_ended = ""
        self.log_size = 0
        self.group = 0
        self._index = 0
        self._unsent = bytearray()
        self.channel, theirs = socket.socketpair()
        self.channel.setblocking(False)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "ab") as out, theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "renkei.executors._worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(theirs.fileno(),),
                    env=os.environ | _ENVIRONMENT,
                )
        except OSError as error:
            raise ExecutorError(f"No worker process can be started: {error}.") from error

    def hand(self, jobs: Sequence[Job]) -> bool:
        """Write jobs to the worker; returns whether all of it went out at once."""
        for job in jobs:
            self._index += 1
            self._unsent += frame(
                Task(self._index, job.run, job.target, job.parameters, job.directory, job.memory_bytes)
            )
        return self.flush()

    def flush(self) -> bool:
        """Write what is unsent as far as it goes; returns whether nothing is left."""
        while self._unsent:
            try:
                del self._unsent[: self.channel.send(self._unsent)]
            except BlockingIOError:
                return False
            except OSError:  # the worker is gone; whoever listens to it finds out
                self._unsent.clear()
        return True

    def end(self, why: str, now: float) -> None:
        """Ask the worker and what it started to end, once."""
        if self.ending_at is None:
            self.ending_at, self.why_ended = now, why
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker and what it started, for certain."""
        self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait until the process is gone and return its exit code; negative for a signal."""
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()

    def memory_bytes(self) -> int:
        """Return the resident memory of the worker and of what it started."""
        pids, total = [self.process.pid], 0
        while pids:
            pid = pids.pop()
            try:
                with open(f"/proc/{pid}/statm") as statm:
                    total += int(statm.read().split()[1]) * _PAGE
                with open(f"/proc/{pid}/task/{pid}/children") as children:
                    pids += map(int, children.read().split())
            except (OSError, ValueError, IndexError):
                continue  # it ended meanwhile
        return total

    def tail(self) -> str:
        """Return the last part of what it wrote in the job that it was in."""
        try:
            with open(self.log, "rb") as log:
                size = os.fstat(log.fileno()).st_size
                log.seek(max(self.log_size if self.log_size <= size else 0, size - 2000))
                return log.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def _signal(self, number: int) -> None:
        if self.group:
            try:
                os.killpg(self.group, number)
            except ProcessLookupError:
                pass
        if self.process.poll() is None:
            self.process.send_signal(number)


def _seconds_between(first: Path, last: Path) -> float:
    """Return how long after one file another was last written: a command leaves the first when it begins."""
    try:
        return max(0.0, last.stat().st_mtime - first.stat().st_mtime)
    except OSError:  # somebody took it away: nothing says how long it ran
        return 0.0


def _n_jobs(worker: _Worker) -> int:
    return len(worker.jobs)


def _death(job: Job, worker: _Worker, code: int, seconds: float) -> JobEnd:
    """Return how the job ended that a worker was in when it died."""
    evidence = Evidence(
        exit_code=code if code >= 0 else None,
        signal=signal.Signals(-code).name if code < 0 else "",
        tail=worker.tail(),
        directory=job.directory if isinstance(job.target, Command) else "",
    )
    if worker.why_ended == "cancelled":
        return JobEnd(job.run, "cancelled", seconds, message="cancelled", evidence=evidence)
    if worker.why_ended:
        return over_limit(job, worker.why_ended, seconds, evidence)
    message = f"its process ended by {evidence.signal}" if code < 0 else f"its process exited with code {code}"
    return JobEnd(job.run, "failed", seconds, {}, {}, "facility", True, message, evidence)
