"""The parts of `make chaos`: lines that fail, clocks that are wrong, and a judge that notices."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from benchmarks.chaos import skewed
from benchmarks.chaos.judge import PROMISES, Executed, SiteBooks, Verdict, executions
from benchmarks.chaos.line import Line
from benchmarks.chaos.page import filled, kills_part

from renkei.clock import SystemClock
from renkei.model.records import KINDS, AllocationGranted, Body, Record, RunAccepted, RunEnded, RunStarted

SECOND = 1_000_000  # an hour costs 3600, so that a second costs one


@asynccontextmanager
async def echoing() -> AsyncGenerator[Line]:
    """Yield a line to a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    free = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = free.sockets[0].getsockname()[1]
    free.close()
    await free.wait_closed()
    async with server, Line(port, server.sockets[0].getsockname()[1]) as line:
        yield line


async def answer(reader: asyncio.StreamReader, limit_s: float = 2.0) -> bytes:
    return await asyncio.wait_for(reader.read(100), limit_s)


async def _stalled(line: Line) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    writer.write(b"one")
    assert await answer(reader) == b"one"
    line.harm("stall")
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await answer(reader, 0.1)
    line.mend()
    assert await answer(reader) == b"two"
    writer.close()


async def _dropped(line: Line) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    writer.write(b"one")
    assert await answer(reader) == b"one"
    line.harm("drop")
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await answer(reader, 0.1)
    line.mend()
    with pytest.raises(ConnectionError):
        await answer(reader)


async def _cut(line: Line) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    writer.write(b"one")
    assert await answer(reader) == b"one"
    line.harm("cut")
    with pytest.raises(ConnectionError):
        await answer(reader)
    line.mend()
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    writer.write(b"two")
    assert await answer(reader) == b"two"
    writer.close()


@pytest.mark.parametrize("check", [_stalled, _dropped, _cut])
def test_a_line_fails_as_it_is_told(check: Callable[[Line], Awaitable[None]]) -> None:
    async def run() -> None:
        async with echoing() as line:
            await check(line)

    asyncio.run(run())


def test_a_clock_is_as_wrong_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, argv = SystemClock.now, sys.argv
    offsets: list[float] = []
    monkeypatch.setattr("renkei.cli.main", lambda: offsets.append(SystemClock().now() - truth(SystemClock())))
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(SystemClock, "now", truth)
    with pytest.raises(SystemExit):
        skewed.main(-50.0, 0.0, ["site", "list"])
    assert offsets[0] == pytest.approx(-50.0, abs=0.5)
    assert sys.argv == ["renkei", "site", "list"]


def judged(*bodies: Body, marks: dict[str, Executed] | None = None) -> Verdict:
    """Return what the judge finds in a site that wrote these records after a grant of 100 s."""
    verdict = Verdict()
    executed = {"r": Executed([10.0], [11.0])} if marks is None else marks
    site = SiteBooks("east", verdict, executed, 0.0)
    granted = AllocationGranted("wide", 100 * SECOND, "node-hour", "")
    for seq, body in enumerate((granted, *bodies)):
        site.take(Record(seq, 0.0, KINDS[type(body)], body))
    site.close()
    return verdict


def accepted(run: str = "r", seconds: int = 20) -> RunAccepted:
    return RunAccepted(
        run, "", 0, "us-lab", "wide", "c", "t", "lab.measure", "1.0", {}, seconds * SECOND, "node-hour", 0.0
    )


def ended(outcome: str = "succeeded", charge: int = SECOND, run_s: float = 1.0, fault: str = "") -> RunEnded:
    return RunEnded("r", outcome, "wide", 20 * SECOND, charge, "node-hour", 0.0, run_s, fault=fault)


START = RunStarted("r", "local")


def test_the_judge_finds_nothing_wrong_with_a_run_as_it_should_be() -> None:
    verdict = judged(accepted(), START, ended())
    assert not verdict.broken.total(), verdict.findings
    assert verdict.counts["runs succeeded"] == 1


@pytest.mark.parametrize(
    ("promise", "bodies"),
    [
        ("lost", (accepted(), START)),
        ("doubled", (accepted(), START, START, ended())),
        ("doubled", (accepted(), START, ended(), ended())),
        ("doubled", (START, ended())),
        ("overspent", (accepted(), accepted("q", 90), START, ended())),
        ("mischarged", (accepted(), START, ended(charge=2 * SECOND))),
        ("mischarged", (accepted(), START, ended(charge=5 * SECOND, run_s=5.0))),
        ("mischarged", (accepted(), START, ended("lost"))),
        ("mischarged", (accepted(), START, ended("failed", fault="facility"))),
    ],
)
def test_the_judge_notices(promise: str, bodies: tuple[Body, ...]) -> None:
    assert judged(*bodies).broken[promise] > 0


@pytest.mark.parametrize("marks", [{}, {"r": Executed([10.0], [])}])
def test_the_judge_notices_what_was_charged_and_never_done(marks: dict[str, Executed]) -> None:
    assert judged(accepted(), START, ended(), marks=marks).broken["mischarged"] > 0


def test_executions_are_read_as_procedures_left_them(tmp_path: Path) -> None:
    path = tmp_path / "executions"
    assert executions(path) == {}
    path.write_text("a began 1.0\nb began 2.0\na ended 3.5\na began 4.0\n")
    assert executions(path) == {"a": Executed([1.0, 4.0], [3.5]), "b": Executed([2.0], [])}


def test_a_page_is_filled_between_its_markers() -> None:
    page = "before\n<!-- kills begin -->\nold\n<!-- kills end -->\nafter\n"
    once = filled(page, {"kills": "new"})
    assert once == "before\n<!-- kills begin -->\n\nnew\n\n<!-- kills end -->\nafter\n"
    assert filled(once, {"kills": "new"}) == once
    with pytest.raises(SystemExit, match="0 places for 'seeds'"):
        filled(page, {"seeds": "x"})


def test_the_page_shows_every_promise_that_was_broken() -> None:
    spread = {"n": 3, "p50_s": 1.0, "p99_s": 2.0, "max_s": 2.04, "cpu_p50_s": 0.9}
    result = {
        "killed": 1000, "seconds": 1800.0, "machine": "2 cores", "load": 3.5, "seed": 7,
        "kills": {"east": 1000}, "faults": {},
        "left_out": ["Slurm: not here"], "broken": {name: i for i, name in enumerate(PROMISES)},
        "counts": {"campaigns": 9, "trials": 1800, "executions": 1900, "openings of east": 400},
        "recovery": spread, "recovery_disturbed": spread, "recovery_of": {"east": spread},
        "killed_again_before_back": 12,
    }  # fmt: skip
    text = kills_part(result)
    assert "| doubled | 1 |" in text
    assert "| east | 3 | 1.0 s | 2.0 s | 2.0 s | 0.9 s |" in text
    assert "Slurm: not here" in text
