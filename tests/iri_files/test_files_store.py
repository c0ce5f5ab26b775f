"""The store of tasks and answers: durable, private, and shared by processes."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hand_clock import HandClock
from renkei.api.iri import _store
from renkei.api.iri._store import Answer, Attempt, Crowded, Store
from renkei.errors import LedgerError

pytestmark = pytest.mark.anyio
REPEATABLE = frozenset({"ls"})


@contextmanager
def opened(folder: Path, clock: HandClock) -> Generator[Store]:
    store = Store(folder / "api.db", clock)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Generator[Store]:
    with opened(tmp_path, clock) as store:
        yield store


async def test_a_task_goes_its_way(store: Store, clock: HandClock) -> None:
    made = await store.add_task("ann", "disk", "ls", {"path": "/"}, b"content")
    task = await store.task("ann", made)
    assert task is not None
    assert (task.state, task.command, task.args, task.created) == ("pending", "ls", {"path": "/"}, clock.time)
    clock.time += 1
    claimed = await store.claim()
    assert claimed is not None
    assert (claimed[0].id, claimed[0].state, claimed[0].started, claimed[1]) == (made, "active", clock.time, b"content")
    assert await store.claim() is None
    clock.time += 1
    assert await store.finish(made, "completed", {"output": [1]})
    assert not await store.finish(made, "failed", {})
    task = await store.task("ann", made)
    assert task is not None
    assert (task.state, task.ended, task.result) == ("completed", clock.time, b'{"output":[1]}')


async def test_a_user_sees_and_deletes_only_what_is_theirs(store: Store) -> None:
    made = [await store.add_task(user, "disk", "ls", {}) for user in ("ann", "bob", "ann")]
    assert [task.id for task in await store.tasks("ann")] == [made[2], made[0]]
    assert await store.task("bob", made[0]) is None
    assert await store.delete_task("bob", made[0]) is None
    assert await store.delete_task("ann", made[0]) is not None
    assert await store.delete_task("ann", made[0]) is None
    assert await store.task("ann", made[0]) is None
    assert [task.id for task in await store.tasks("ann")] == [made[2]]


async def test_a_deleted_task_is_not_begun_and_one_at_work_is_told(store: Store) -> None:
    first, second = [await store.add_task("ann", "disk", "ls", {}) for _ in range(2)]
    assert await store.claim() is not None
    await store.delete_task("ann", first)
    await store.delete_task("ann", second)
    assert await store.claim() is None
    assert await store.deleted([first, second]) == [first, second]
    assert await store.finish(first, "completed", {"output": 1})
    await store.prune()
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT count(*) FROM task").fetchone() == (0,)
    db.close()


async def test_a_user_has_so_many_tasks_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "LIVE_MAX", 3)
    made = [await store.add_task("ann", "disk", "ls", {}) for _ in range(3)]
    with pytest.raises(Crowded, match="3 tasks"):
        await store.add_task("ann", "disk", "ls", {})
    await store.add_task("bob", "disk", "ls", {})
    await store.delete_task("ann", made[0])
    await store.add_task("ann", "disk", "ls", {})


async def test_one_user_does_not_keep_others_from_their_turn(store: Store) -> None:
    for _ in range(4):
        await store.add_task("ann", "disk", "ls", {})
    await store.add_task("bob", "disk", "ls", {})
    taken = [await store.claim() for _ in range(4)]
    assert [found[0].user if found else None for found in taken] == ["ann", "ann", "bob", None]


async def test_long_results_are_left_out_of_lists(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (10, 100_000):
        made = await store.add_task("ann", "disk", "view", {})
        await store.claim()
        await store.finish(made, "completed", {"output": "x" * size})
    long, short = await store.tasks("ann")
    assert long.result is None
    assert short.result is not None
    shown = await store.task("ann", long.id)
    assert shown is not None
    assert len(shown.result or b"") > 100_000


async def test_old_tasks_and_large_ones_are_forgotten(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "KEEP_BYTES", 2500)
    made: list[str] = []
    for _ in range(4):
        made.append(await store.add_task("ann", "disk", "view", {}))
        await store.claim()
        await store.finish(made[-1], "completed", {"output": "x" * 1000})
    await store.prune()
    assert [task.id for task in await store.tasks("ann")] == [made[3], made[2]]
    waiting = await store.add_task("ann", "disk", "ls", {})
    clock.time += _store.KEEP_TASK_S + 1
    await store.prune()
    assert [task.id for task in await store.tasks("ann")] == [waiting]


# ---- workers -----------------------------------------------------------------------------------------------------


async def test_a_worker_that_ended_leaves_its_tasks_to_others(tmp_path: Path, clock: HandClock) -> None:
    with opened(tmp_path, clock) as watching:
        with opened(tmp_path, clock) as working:
            made = {
                name: await working.add_task(name, "disk", name, {}, b"c") for name in ("ls", "rm", "waits", "gone")
            }
            for _ in range(2):
                assert await working.claim()
            await working.delete_task("waits", made["waits"])
            assert await working.claim()
            await working.delete_task("gone", made["gone"])
            assert await watching.take_over(REPEATABLE, "The site stopped.") == 0
        assert await watching.take_over(REPEATABLE, "The site stopped.") == 3
        again = await watching.claim()
        assert again is not None
        assert (again[0].id, again[1]) == (made["ls"], b"c")
        failed = await watching.task("rm", made["rm"])
        assert failed is not None
        assert failed.state == "failed"
        assert json.loads(failed.result or b"")["error"]["message"] == "The site stopped."
        assert await watching.claim() is None


async def test_a_task_that_another_took_over_is_not_ended_by_the_first(tmp_path: Path, clock: HandClock) -> None:
    with opened(tmp_path, clock) as one, opened(tmp_path, clock) as other:
        made = await one.add_task("ann", "disk", "ls", {})
        await one.claim()
        await one.give_back([made])
        assert await other.claim()
        assert not await one.finish(made, "completed", {})
        assert await other.finish(made, "completed", {})


WORKER = """
import anyio, sys
from pathlib import Path
from renkei.api.iri._store import Store
from renkei.clock import SystemClock

async def main() -> None:
    store = Store(Path(sys.argv[1]), SystemClock())
    if sys.argv[2] == "hold":
        claimed = await store.claim()
        attempt = await store.begin("ann", "launchJob", "cluster", "key", b"digest")
        print(claimed[0].id, attempt.id, flush=True)
        sys.stdin.read()
        return
    done = []
    while (claimed := await store.claim()) is not None:
        done.append(claimed[0].id)
        await store.finish(claimed[0].id, "completed", {})
    print(" ".join(done), flush=True)
    store.close()

anyio.run(main)
"""


def worker(path: Path, verb: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


async def test_a_worker_that_was_killed_holds_nothing_any_more(store: Store, clock: HandClock) -> None:
    clock.time = time.time()  # as the other process has it
    made = await store.add_task("ann", "disk", "rm", {})
    process = worker(store.path, "hold")
    try:
        assert process.stdout is not None
        task, attempt = process.stdout.readline().split()
        assert task == made
        assert await store.take_over(REPEATABLE, "stopped") == 0
        assert await store.begin("ann", "launchJob", "cluster", "key", b"digest") == "in progress"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    assert await store.take_over(REPEATABLE, "stopped") == 1
    again = await store.begin("ann", "launchJob", "cluster", "key", b"digest")
    assert isinstance(again, Attempt)
    assert again.id == attempt


async def test_two_processes_share_the_tasks_and_do_each_once(store: Store) -> None:
    made = {await store.add_task(f"user {n % 30}", "disk", "ls", {}) for n in range(90)}
    workers = [worker(store.path, "finish all") for _ in range(2)]
    done = [process.communicate(timeout=60)[0].split() for process in workers]
    assert sorted(done[0] + done[1]) == sorted(made)
    assert await store.claim() is None


def test_the_file_is_for_its_owner_alone(store: Store) -> None:
    for path in store.path.parent.glob("api.db*"):
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o700)


async def test_the_locks_of_workers_that_are_gone_go_too(tmp_path: Path, clock: HandClock) -> None:
    with opened(tmp_path, clock) as store:
        locks = tmp_path / "api.db.workers"
        (locks / "0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e77").write_text("")
        await store.prune()
        assert os.listdir(locks) == [store.worker]  # noqa: PTH208 - names
    assert not any(locks.iterdir())


def test_a_file_that_is_no_store_is_refused(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "api.db").write_text("this is no database, and long enough to be looked at as one" * 20)
    with pytest.raises(LedgerError, match="cannot be opened"):
        Store(tmp_path / "api.db", clock)
    (tmp_path / "other").mkdir()
    with sqlite3.connect(tmp_path / "other" / "api.db") as db:
        db.execute("CREATE TABLE x (y)")
    db.close()
    with pytest.raises(LedgerError, match="not a store"):
        Store(tmp_path / "other" / "api.db", clock)
    with opened(tmp_path / "newer", clock) as store:
        store._db.execute("PRAGMA user_version = 99")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(LedgerError, match="newer"):
        Store(tmp_path / "newer" / "api.db", clock)


# ---- requests that may be repeated -------------------------------------------------------------------------------

ASKED = ("ann", "launchJob", "cluster", "key")


async def test_the_same_request_has_the_same_answer(store: Store, tmp_path: Path, clock: HandClock) -> None:
    attempt = await store.begin(*ASKED, b"one")
    assert isinstance(attempt, Attempt)
    assert await store.begin(*ASKED, b"one") == "in progress"
    assert await store.begin(*ASKED, b"two") == "other body"
    await store.answer(attempt, 200, b'{"id":"7"}')
    assert await store.begin(*ASKED, b"one") == Answer(200, b'{"id":"7"}')
    assert await store.begin(*ASKED, b"two") == "other body"
    with opened(tmp_path, clock) as other:
        assert await other.begin(*ASKED, b"one") == Answer(200, b'{"id":"7"}')


@pytest.mark.parametrize("n", range(4))
async def test_a_key_is_bound_to_all_of_a_request(store: Store, n: int) -> None:
    attempt = await store.begin(*ASKED, b"one")
    assert isinstance(attempt, Attempt)
    await store.answer(attempt, 200, b"{}")
    other: list[str] = list(ASKED)
    other[n] = "other"
    again = await store.begin(other[0], other[1], other[2], other[3], b"one")
    assert isinstance(again, Attempt)
    assert again.id != attempt.id


async def test_an_attempt_of_which_nothing_came_frees_the_key(store: Store) -> None:
    attempt = await store.begin(*ASKED, b"one")
    assert isinstance(attempt, Attempt)
    await store.release(attempt, forget=True)
    assert isinstance(await store.begin(*ASKED, b"two"), Attempt)


async def test_an_attempt_whose_outcome_is_unknown_keeps_its_identity(store: Store) -> None:
    attempt = await store.begin(*ASKED, b"one")
    assert isinstance(attempt, Attempt)
    await store.release(attempt, forget=False)
    assert await store.begin(*ASKED, b"two") == "other body"
    assert await store.begin(*ASKED, b"one") == attempt


async def test_answers_are_forgotten_after_a_day(store: Store, clock: HandClock) -> None:
    attempt = await store.begin(*ASKED, b"one")
    assert isinstance(attempt, Attempt)
    await store.answer(attempt, 200, b"{}")
    clock.time += _store.KEEP_ANSWER_S - 1
    await store.prune()
    assert isinstance(await store.begin(*ASKED, b"one"), Answer)
    clock.time += 2
    assert isinstance(await store.begin(*ASKED, b"two"), Attempt)
    clock.time += _store.KEEP_ANSWER_S + 1
    await store.prune()
    assert await store.begin(*ASKED, b"two") == "in progress"  # it is still at work, in this worker
