"""When a commit is brief, and that the zeros behind SQLite's log change nothing but its length."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from hand_clock import HandClock
from renkei.ledger import Ledger, LedgerReader, verify
from renkei.ledger._ledger import QUICK_RECORDS, QUICK_S, WAL_STEP_BYTES
from renkei.model.records import AllocationGranted
from renkei.trust.keys import Key

pytestmark = pytest.mark.anyio


class WatchedClock(HandClock):
    """Remembers whether each blocking call was said to be brief, and lets it take a while."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bool] = []
        self.takes_s = 0.0

    async def blocking(self, call: Callable[[], Any], *, is_brief: bool = False) -> Any:
        self.said.append(is_brief)
        return call()

    def monotonic(self) -> float:
        self.time += self.takes_s
        return self.time


def grant(text: str = "test") -> AllocationGranted:
    return AllocationGranted("fusion", 1, "run", text)


async def test_a_few_records_are_committed_at_once_and_many_in_a_thread(tmp_path: Path, key: Key) -> None:
    clock = WatchedClock()
    ledger = Ledger(tmp_path / "l.db", "site/x", key, clock, checkpoint_s=1e9)
    for n, is_brief in ((1, True), (QUICK_RECORDS, True), (QUICK_RECORDS + 1, False), (1, True)):
        for _ in range(n):
            ledger.append(grant())
        await ledger.sync()
        assert clock.said[-1] is is_brief, n
    ledger.append(grant())
    await ledger.sync(meanwhile=True)
    assert clock.said[-1] is False, "others have something to do meanwhile"
    await ledger.close()
    assert clock.said[-1] is False, "signing takes its time"


async def test_after_a_slow_commit_the_next_one_is_left_to_a_thread(tmp_path: Path, key: Key) -> None:
    clock = WatchedClock()
    ledger = Ledger(tmp_path / "l.db", "site/x", key, clock, checkpoint_s=1e9)
    said: list[bool] = []
    for takes_s in (2 * QUICK_S, 0.0, 0.0):
        clock.takes_s = takes_s
        ledger.append(grant())
        await ledger.sync()
        said.append(clock.said[-1])
    assert said == [True, False, True]
    await ledger.close()


async def test_tasks_that_append_at_the_same_time_share_a_brief_commit(tmp_path: Path, key: Key) -> None:
    clock = WatchedClock()
    ledger = Ledger(tmp_path / "l.db", "site/x", key, clock, checkpoint_s=1e9)

    async def one() -> None:
        ledger.append(grant())
        await ledger.sync()

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
    assert (ledger.durable_size, len(clock.said)) == (5, 1)
    await ledger.close()


async def test_a_ledger_with_zeros_behind_its_log_survives_a_crash(tmp_path: Path, key: Key) -> None:
    clock = HandClock()
    ledger = Ledger(tmp_path / "l.db", "site/x", key, clock)
    wal, lengthened = tmp_path / "l.db-wal", 0
    for n in range(60):
        ledger.append(grant("x" * 20_000))
        await ledger.sync()
        if wal.read_bytes()[-WAL_STEP_BYTES // 2 :].strip(b"\0") == b"":
            lengthened += 1
            crashed = tmp_path / str(n)
            crashed.mkdir()
            for path in (tmp_path / "l.db", wal):  # what a crash leaves: no shared memory, no orderly end
                shutil.copyfile(path, crashed / path.name)
            again = Ledger(crashed / "l.db", "site/x", key, clock)
            assert again.size == n + 1
            again.append(grant())
            await again.close()
            assert verify(crashed / "l.db").is_sound
    await ledger.close()
    assert lengthened > 20
    with LedgerReader(tmp_path / "l.db") as reader:
        assert reader.tree_size == 60


async def test_the_log_grows_with_what_is_written_and_not_with_every_crash(tmp_path: Path, key: Key) -> None:
    opened = [Ledger(tmp_path / "l.db", "site/x", key, HandClock())]
    wal = tmp_path / "l.db-wal"
    while wal.stat().st_size <= WAL_STEP_BYTES:
        opened[-1].append(grant("x" * 20_000))
        await opened[-1].sync()
    size = wal.stat().st_size
    for i in range(4):
        crashed = tmp_path / str(i)
        crashed.mkdir()
        for path in (opened[-1].path, wal):
            shutil.copyfile(path, crashed / path.name)
        opened.append(Ledger(crashed / "l.db", "site/x", key, HandClock()))
        opened[-1].append(grant())
        await opened[-1].sync()
        wal = crashed / "l.db-wal"
        assert wal.stat().st_size == size
    for ledger in opened:
        await ledger.close()
