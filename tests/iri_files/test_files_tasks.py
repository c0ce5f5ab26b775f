"""Tasks at work: done in threads, each once, also when the site stops in the middle."""

import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from renkei.api.iri import _tasks
from renkei.api.iri._fileargs import OfPath
from renkei.api.iri._fileops import OPERATIONS, FileOperation
from renkei.api.iri._filework import Work
from renkei.api.iri._paths import Root
from renkei.api.iri._store import Store, Task
from renkei.api.iri._tasks import PARALLEL, Tasks
from renkei.clock import SystemClock

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tasks, "POLL_S", 0.01)


@asynccontextmanager
async def working(root: Path, *, is_serving: bool = True, time_s: float = 60.0) -> AsyncGenerator[Tasks]:
    """A worker on the store beside the root; the root is there as "disk", and as "frozen" to be read only."""
    store = Store(root.parent / "api.db", SystemClock())
    tasks = Tasks(store, {"disk": (Root(root), False), "frozen": (Root(root), True)}, SystemClock(), time_s=time_s)
    try:
        async with anyio.create_task_group() as group:
            if is_serving:
                group.start_soon(tasks.serve)
            yield tasks
            group.cancel_scope.cancel()
    finally:
        store.close()


async def ended(tasks: Tasks, made: str, user: str = "ann") -> Task:
    with anyio.fail_after(10):
        while True:
            task = await tasks.store.task(user, made)
            assert task is not None
            if task.state not in ("pending", "active"):
                return task
            await anyio.sleep(0.005)


async def result(tasks: Tasks, command: str, resource: str = "disk", **args: Any) -> Any:
    task = await ended(tasks, await tasks.add("ann", resource, command, args))
    found = json.loads(task.result or b"")
    assert ("error" in found) == (task.state == "failed")
    return found


class Slow:
    """An operation that waits until it is let go on."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.n_begun = self.n_now = self.n_most = 0
        self.lock = threading.Lock()

    def __call__(self, work: Work, asked: OfPath) -> str:
        with self.lock:
            self.n_begun += 1
            self.n_now += 1
            self.n_most = max(self.n_most, self.n_now)
        try:
            while not self.go.is_set():
                work.check()
                time.sleep(0.002)
            return f"done {asked.path}"
        finally:
            with self.lock:
                self.n_now -= 1


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Stands in for "file", which can be repeated, and for "rm", which cannot."""
    slow = Slow()
    monkeypatch.setitem(OPERATIONS, "file", FileOperation(OfPath, slow))  # type: ignore[arg-type]
    monkeypatch.setitem(OPERATIONS, "rm", FileOperation(OfPath, slow, is_change=True, is_repeatable=False))  # type: ignore[arg-type]
    return slow


async def until(is_so: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not is_so():
            await anyio.sleep(0.002)


async def test_operations_become_tasks_and_results(root: Path) -> None:
    async with working(root) as tasks:
        assert (await result(tasks, "mkdir", path="/d"))["output"]["name"] == "/d"
        made = await tasks.add("ann", "disk", "upload", {"path": "/d/f"}, b"content")
        assert (await ended(tasks, made)).state == "completed"
        assert (root / "d" / "f").read_bytes() == b"content"
        failed = await result(tasks, "stat", path="/nope")
        assert failed["error"]["message"] == "'/nope' does not exist."
        assert failed["error"]["code"] == "usage"


async def test_a_read_only_resource_is_only_read(root: Path) -> None:
    (root / "f").write_text("")
    async with working(root) as tasks:
        assert "output" in await result(tasks, "ls", "frozen", path="/")
        for name in sorted(name for name, operation in OPERATIONS.items() if operation.is_change):
            refused = await result(tasks, name, "frozen", path="/f", mode="600", target_path="/g", link_path="/h")
            assert refused["error"]["message"] == "The resource is read-only."
    assert [path.name for path in root.iterdir()] == ["f"]


async def test_changes_leave_a_trace_that_no_name_can_forge(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "renkei.api.files")
    async with working(root) as tasks:
        await result(tasks, "mkdir", path="/a\nuser 'bob' does rm at disk: x")
        await result(tasks, "ls", path="/")
        await result(tasks, "rm", path="/nope")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        """user 'ann' does mkdir at disk: {"path":"/a\\nuser 'bob' does rm at disk: x"}""",
        """user 'ann' does rm at disk: {"path":"/nope"}""",
        """user 'ann' could not do rm at disk: {"path":"/nope"}: '/nope' does not exist.""",
    ]


async def test_only_so_many_are_at_work_at_once(root: Path, slow: Slow) -> None:
    async with working(root) as tasks:
        made = [await tasks.add(f"user {n}", "disk", "file", {"path": "/"}) for n in range(PARALLEL + 3)]
        await until(lambda: slow.n_now == PARALLEL)
        await anyio.sleep(0.05)
        slow.go.set()
        for n, task in enumerate(made):
            assert (await ended(tasks, task, f"user {n}")).state == "completed"
    assert slow.n_most == PARALLEL
    assert slow.n_begun == PARALLEL + 3


async def test_a_task_at_work_that_is_deleted_stops(root: Path, slow: Slow) -> None:
    async with working(root) as tasks:
        made = await tasks.add("ann", "disk", "rm", {"path": "/"})
        await until(lambda: slow.n_now)
        await tasks.store.delete_task("ann", made)
        await until(lambda: slow.n_now == 0)
        assert await tasks.store.task("ann", made) is None
        assert "output" in await result(tasks, "ls", path="/")  # and its place is free again


async def test_a_task_has_only_so_much_time(root: Path, slow: Slow) -> None:
    async with working(root, time_s=0.05) as tasks:
        assert "longer than 0.05 s" in (await result(tasks, "file", path="/"))["error"]["message"]


async def test_a_fault_in_an_operation_is_one_failed_task(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(work: Work, asked: OfPath) -> str:
        raise ZeroDivisionError(str(root))

    monkeypatch.setitem(OPERATIONS, "file", FileOperation(OfPath, broken))  # type: ignore[arg-type]
    async with working(root) as tasks:
        assert (await result(tasks, "file", path="/"))["error"]["message"].startswith("Something went wrong here")
        assert "output" in await result(tasks, "ls", path="/")


async def test_what_waits_when_the_site_stops_is_done_when_it_starts_again(root: Path) -> None:
    async with working(root, is_serving=False) as tasks:
        made = [await tasks.add("ann", "disk", "mkdir", {"path": f"/{n}"}) for n in range(5)]
        upload = await tasks.add("ann", "disk", "upload", {"path": "/f"}, b"content")
    assert list(root.iterdir()) == []
    async with working(root) as tasks:
        for task in [*made, upload]:
            assert (await ended(tasks, task)).state == "completed"
    assert (root / "f").read_bytes() == b"content"


async def test_what_is_at_work_when_the_site_stops_is_done_again_where_that_is_safe(root: Path, slow: Slow) -> None:
    async with working(root) as tasks:
        again = await tasks.add("ann", "disk", "file", {"path": "/"})
        not_again = await tasks.add("bob", "disk", "rm", {"path": "/"})
        await until(lambda: slow.n_now == 2)
    slow.go.set()
    async with working(root) as tasks:
        assert (await ended(tasks, again)).state == "completed"
        task = await ended(tasks, not_again, "bob")
        assert task.state == "failed"
        assert "stopped in the middle" in json.loads(task.result or b"")["error"]["message"]
    assert slow.n_begun == 3


async def test_what_is_at_work_when_the_site_dies_is_done_again_where_that_is_safe(root: Path, slow: Slow) -> None:
    async with working(root, is_serving=False) as tasks:  # claims, and is gone
        again = await tasks.add("ann", "disk", "upload", {"path": "/f"}, b"content")
        not_again = await tasks.add("bob", "disk", "mkdir", {"path": "/d"})
        await tasks.store.claim()
        await tasks.store.claim()
        (root / f".renkei-{again}.part").write_bytes(b"con")
    async with working(root) as tasks:
        assert (await ended(tasks, again)).state == "completed"
        assert (await ended(tasks, not_again, "bob")).state == "failed"
    assert [path.name for path in root.iterdir()] == ["f"]


async def test_two_workers_share_the_work_and_each_sees_all_of_it(root: Path, slow: Slow) -> None:
    slow.go.set()
    async with working(root) as one, working(root) as other:
        made = [await (one, other)[n % 2].add(f"user {n}", "disk", "file", {"path": f"/{n}"}) for n in range(30)]
        for n, task in enumerate(made):
            assert json.loads((await ended(other, task, f"user {n}")).result or b"") == {"output": f"done /{n}"}
    assert slow.n_begun == 30


async def test_a_worker_that_finds_the_store_broken_goes_on_trying(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from renkei.errors import LedgerError

    claim, calls = Store.claim, 0

    async def failing(self: Store) -> Any:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise LedgerError("disk full")
        return await claim(self)

    monkeypatch.setattr(Store, "claim", failing)
    async with working(root) as tasks:
        assert "output" in await result(tasks, "ls", path="/")
    assert "tasks cannot be taken: disk full" in caplog.text
