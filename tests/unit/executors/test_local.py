"""The local executor: a crash belongs to its run alone, and nothing is lost or done twice."""

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from renkei.clock import SystemClock
from renkei.executors import Command, Job, JobEnd
from renkei.executors.local import LocalExecutor

pytestmark = pytest.mark.anyio

PROCEDURES = """
import ctypes, os, signal, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from annotated_types import Interval
from renkei import Infeasible, current_run, procedure
from renkei.errors import UsageError

X = Annotated[float, Interval(ge=0, le=1e6)]

def note(word):
    with open(Path(__file__).with_name("done"), "a") as file:
        file.write(word + "\\n")

@procedure("t.double", version="1")
def double(x: X) -> float:
    note(current_run().id)
    return 2 * x

@procedure("t.quick", version="1")
def quick(x: X) -> float:
    return x

@procedure("t.segfault", version="1")
def segfault(x: X) -> float:
    print("about to fall", flush=True)
    ctypes.string_at(0)

@procedure("t.exit", version="1")
def leave(x: X) -> float:
    os._exit(7)

@procedure("t.hang", version="1")
def hang(x: X) -> float:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass

@procedure("t.eat", version="1")
def eat(x: X) -> float:
    food = []
    while True:
        food.append(bytearray(10_000_000))

@procedure("t.melt", version="1")
def melt(x: X) -> float:
    raise Infeasible("it melts")

@procedure("t.boom", version="1", infeasible_on=(ZeroDivisionError,))
def boom(x: X) -> float:
    return 1 / 0 if x else [][1]

@procedure("t.ask", version="1")
def ask(x: X) -> float:
    raise UsageError("no such sample")

@procedure("t.nan", version="1")
def nan(x: X) -> float:
    return float("nan")

@procedure("t.pid", version="1")
def pid(x: X) -> float:
    return os.getpid()

@procedure("t.sleep", version="1")
def sleep(x: X) -> float:
    time.sleep(x)
    return x

@dataclass
class Made:
    size: float
    picture: Path

@procedure("t.file", version="1")
def file(x: X) -> Made:
    folder = current_run().directory
    if x:
        (folder / "p.txt").write_text("x" * int(x))
    return Made(x, Path("p.txt"))
"""


class Bench:
    """An executor at work, and the ends that it reported, by run."""

    def __init__(self, executor: LocalExecutor, folder: Path) -> None:
        self.executor, self.folder = executor, folder
        self.ends: dict[str, JobEnd] = {}
        self.n_reports = 0

    async def report(self, ends: Sequence[JobEnd]) -> None:
        self.n_reports += len(ends)
        self.ends |= {end.run: end for end in ends}

    def job(self, run: str, name: str, x: float = 1.0, limit_s: float = 20.0, **options: object) -> Job:
        parameters: dict[str, object] = {"x": x}
        target = f"{self.folder / 'procs.py'}:{name}"
        return Job(run, f"t.{name}", target, parameters, str(self.folder / run), limit_s, **options)  # type: ignore[arg-type]

    async def end_of(self, *jobs: Job) -> JobEnd:
        for job in jobs:
            while not self.executor.room(job.procedure):
                await anyio.sleep(0.002)
            await self.executor.submit([job])
        with anyio.fail_after(30):
            while not all(job.run in self.ends for job in jobs):
                await anyio.sleep(0.002)
        return self.ends[jobs[-1].run]


@asynccontextmanager
async def bench(folder: Path, workers: int = 1) -> AsyncIterator[Bench]:
    (folder / "procs.py").write_text(PROCEDURES)
    executor = LocalExecutor(workers, folder / "logs", SystemClock())
    bench = Bench(executor, folder)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(executor.serve, bench.report)
        yield bench
        tasks.cancel_scope.cancel()


async def test_a_run_gives_its_outputs_and_time(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(b.job("r1", "double", 21.0))
    assert (end.outcome, end.outputs) == ("succeeded", {"value": 42.0})
    assert 0 < end.seconds < 5


@pytest.mark.parametrize(
    ("name", "outcome", "fault", "message"),
    [
        ("segfault", "failed", "facility", "its process ended by SIGSEGV"),
        ("leave", "failed", "facility", "its process exited with code 7"),
        ("melt", "infeasible", "", "it melts"),
        ("boom", "infeasible", "", "division by zero"),
        ("ask", "failed", "requester", "no such sample"),
        ("nan", "failed", "facility", "output 'value' is nan, not a finite number"),
        ("missing", "failed", "facility", "has no procedure 'missing'"),
    ],
)
async def test_the_end_says_what_happened_and_the_next_run_is_well(
    name: str, outcome: str, fault: str, message: str, tmp_path: Path
) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(b.job("bad", name))
        after = await b.end_of(b.job("good", "double", 2.0))
    assert (end.outcome, end.fault) == (outcome, fault)
    assert message in end.message
    assert after.outputs == {"value": 4.0}


async def test_a_crash_leaves_its_last_words_as_evidence(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(b.job("r", "segfault"))
    assert end.evidence is not None
    assert (end.evidence.signal, end.evidence.tail) == ("SIGSEGV", "about to fall")


async def test_an_exception_leaves_its_traceback_as_evidence(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(b.job("r", "boom", 0.0))
    assert end.outcome == "failed"
    assert end.retryable
    assert end.evidence is not None
    assert "IndexError" in end.evidence.tail


async def test_an_endless_loop_that_ignores_sigterm_ends_at_its_time_limit(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(b.job("r", "hang", limit_s=0.3))
        soft = await b.end_of(b.job("s", "hang", limit_s=0.3, exceeded="infeasible"))
    assert (end.outcome, end.fault, end.message) == ("failed", "requester", "ended at its time limit of 0.3 s")
    assert soft.outcome == "infeasible"


async def test_a_run_over_its_memory_ends_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(b.job("r", "eat", memory_bytes=200_000_000))
        after = await b.end_of(b.job("good", "double", 2.0))
    assert (end.outcome, end.message) == ("failed", "ended at its memory limit of 200 MB")
    assert after.outcome == "succeeded"


async def test_workers_stay_alive_between_runs(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        pids = {(await b.end_of(b.job(f"r{n}", "pid"))).outputs["value"] for n in range(5)}
    assert len(pids) == 1


async def test_what_a_dead_worker_had_not_begun_is_done_once_by_another(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.end_of(*(b.job(f"warm{n}", "quick") for n in range(20)))
        assert b.executor.room("t.quick") > 20
        crash = [b.job("bad", "leave")] + [b.job(f"r{n}", "double", float(n)) for n in range(20)]
        await b.executor.submit(crash)
        with anyio.fail_after(30):
            while len(b.ends) < 41:
                await anyio.sleep(0.005)
    done = (tmp_path / "done").read_text().split()
    assert sorted(done) == sorted(f"r{n}" for n in range(20))
    assert b.n_reports == 41
    assert b.ends["bad"].outcome == "failed"


async def test_thousands_of_short_runs_are_each_reported_once(tmp_path: Path) -> None:
    async with bench(tmp_path, workers=2) as b:
        sent = 0
        while sent < 5000:
            n = min(b.executor.room("t.quick"), 5000 - sent)
            await b.executor.submit([b.job(f"r{sent + i}", "quick", float(i)) for i in range(n)])
            sent += n
            await anyio.sleep(0.001)
        with anyio.fail_after(30):
            while len(b.ends) < 5000:
                await anyio.sleep(0.005)
    assert b.n_reports == 5000


async def test_a_cancelled_run_ends_as_cancelled(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.executor.submit([b.job("r", "sleep", 30.0, 60.0)])
        await anyio.sleep(0.5)
        await b.executor.cancel("r")
        with anyio.fail_after(10):
            while "r" not in b.ends:
                await anyio.sleep(0.01)
    assert b.ends["r"].outcome == "cancelled"


async def test_no_process_is_left_when_the_executor_ends(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        pid = int((await b.end_of(b.job("r", "pid"))).outputs["value"])
        await b.executor.submit([b.job("s", "sleep", 60.0, 100.0)])
        await anyio.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_file_named_in_the_result_is_reported_and_one_not_written_fails_the_run(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(b.job("r", "file", 5.0))
        missing = await b.end_of(b.job("m", "file", 0.0))
    assert end.files == {"picture": str(tmp_path / "r" / "p.txt")}
    assert Path(end.files["picture"]).read_text() == "xxxxx"
    assert missing.outcome == "failed"
    assert "named but not written" in missing.message


def command(folder: Path, run: str, script: str, limit_s: float = 20.0, **options: object) -> Job:
    template = Command(("sh", "-c", script), "o.json", **options)  # type: ignore[arg-type]
    return Job(run, "t.command", template, {"x": 2.5}, str(folder / run), limit_s)


async def test_a_command_gives_its_outputs_and_leaves_its_evidence(tmp_path: Path) -> None:
    job = command(tmp_path, "c", 'echo "{{\\"y\\": {x}}}" > o.json; echo said; echo {run} > f', files={"f": "f"})
    async with bench(tmp_path) as b:
        end = await b.end_of(job)
    assert (end.outcome, end.outputs, end.files) == ("succeeded", {"y": 2.5}, {"f": str(tmp_path / "c" / "f")})
    left = {path.name: path.read_text() for path in (tmp_path / "c").iterdir()}
    assert left["exit_code"] == "0"
    assert left["stdout"] == "said\n"
    assert '"y": 2.5' in left["result.json"]
    assert '"x": 2.5' in left["request.json"]


@pytest.mark.parametrize(
    ("script", "outcome", "message"),
    [
        ("echo no >&2; exit 3", "infeasible", "exit code 3"),
        ("echo no >&2; exit 4", "failed", "exit code 4"),
        ("true", "failed", "o.json is not a JSON object of numbers"),
        ("echo [] > o.json", "failed", "o.json is not a JSON object of numbers"),
        ("kill -9 $$", "failed", "ended by signal 9"),
    ],
)
async def test_a_command_is_judged_by_its_evidence(script: str, outcome: str, message: str, tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(command(tmp_path, "c", script, infeasible_exit_codes=(3,)))
    assert end.outcome == outcome
    assert message in end.message


async def test_a_command_over_its_time_is_ended_with_its_children(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        end = await b.end_of(command(tmp_path, "c", "sleep 60 & echo $! > child; wait", 0.5))
    assert end.message == "ended at its time limit of 0.5 s"
    child = int((tmp_path / "c" / "child").read_text())
    await anyio.sleep(0.2)
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


async def test_after_a_restart_only_evidence_counts(tmp_path: Path) -> None:
    script = 'echo "{{\\"y\\": 1}}" > o.json; sleep 0.2'
    finished, unfinished = command(tmp_path, "done", script), command(tmp_path, "undone", script)
    async with bench(tmp_path) as b:
        await b.end_of(finished)
        python = b.job("py", "double")
    (tmp_path / "undone").mkdir()
    (tmp_path / "undone" / "o.json").write_text('{"y": 1}')
    ends = await LocalExecutor(1, tmp_path / "logs", SystemClock()).settle([finished, unfinished, python])
    assert [end.outcome for end in ends] == ["succeeded", "lost", "lost"]
    assert ends[0].outputs == {"y": 1.0}
    assert 0.15 < ends[0].seconds < 10.0, "it is charged for what it used"


async def test_of_the_jobs_of_a_worker_the_one_that_it_began_is_active(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        jobs = [b.job("r", "sleep", 0.3), b.job("s", "sleep", 0.3), b.job("t", "quick")]
        await b.executor.submit(jobs)
        handed = [b.executor.look(job.run) for job in jobs]
        assert [found and found.state for found in handed] == ["queued"] * 3
        await until_active(b, "r")
        shown = [b.executor.look(job.run) for job in jobs]
        assert [found and found.state for found in shown] == ["active", "queued", "queued"]
        assert len({found and found.number for found in shown}) == 1, "one process has them all"
        await until_active(b, "s")
        assert b.executor.look("r") is None
        assert b.executor.look("unheard of") is None


async def until_active(b: Bench, run: str) -> None:
    with anyio.fail_after(20):
        while (found := b.executor.look(run)) is None or found.state != "active":
            await anyio.sleep(0.005)


@pytest.mark.parametrize(
    ("python", "problem"),
    [
        (
            "#!/bin/sh\necho 'half a sentence' >&2\necho 'no module renkei' >&2\nexit 3\n",
            "with code 3: no module renkei",
        ),
        (None, "No worker process can be started"),
    ],
)
async def test_a_python_that_cannot_be_a_worker_is_found_out(
    python: str | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = LocalExecutor(1, tmp_path / "logs", SystemClock())
    path = tmp_path / "python"
    if python is not None:
        path.write_text(python)
        path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    (found,) = await executor.check()
    assert problem in found
    assert "half a sentence" not in found
