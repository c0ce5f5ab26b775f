"""Tasks: what the filesystem operations are while they wait, run and are done; and the part "task" of the IRI API."""

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec

from renkei.api.iri._fileops import OPERATIONS, REPEATABLE
from renkei.api.iri._filework import Limits, Work
from renkei.api.iri._http import Call, Operation, Reply, not_found, reply
from renkei.api.iri._paths import Root
from renkei.api.iri._store import Store, Task
from renkei.clock import Clock
from renkei.errors import LedgerError, RenkeiError, UsageError

PARALLEL = 4
"""How many tasks one worker is at, at the same time."""
POLL_S = 0.5
"""How often tasks are looked for that came through other workers, and whether some were deleted there."""
TIME_S = 3600.0
"""How long a task may take."""
PRUNE_S = 3600.0
"""How often what nobody needs any more is forgotten."""

INTERRUPTED = "The site stopped in the middle of it, and it may be half done: look before you do it again."

_log = logging.getLogger("renkei.api.files")


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A task is to stop: it was deleted, or the site stops."""


class Tasks:
    """Performs tasks until cancelled; any number of workers may do so on one store.

    Args:
        store: Where tasks are.
        roots: Root and whether it is read-only, by storage resource.
        clock: Time, threads.
        limits: What one operation may grow to.
        time_s: How long a task may take.
    """

    def __init__(
        self,
        store: Store,
        roots: Mapping[str, tuple[Root, bool]],
        clock: Clock,
        *,
        limits: Limits | None = None,
        time_s: float = TIME_S,
    ) -> None:
        self.store, self.roots = store, roots
        self._clock, self._limits, self._time_s = clock, limits or Limits(), time_s
        self._stops: dict[str, threading.Event] = {}
        self._wake = anyio.Event()
        self._is_closing = False

    async def add(
        self, user: str, resource: str, command: str, args: Mapping[str, Any], content: bytes | None = None
    ) -> str:
        """Put a task behind those that wait, durably; return its id. See `Store.add_task`."""
        task = await self.store.add_task(user, resource, command, args, content)
        self._wake.set()
        return task

    async def serve(self) -> None:
        """Perform tasks until cancelled; those at work then stop soon, and wait again where they can be repeated."""
        self._is_closing = False
        async with anyio.create_task_group() as group:
            try:
                group.start_soon(self._tick)
                while True:
                    self._wake = anyio.Event()
                    try:
                        await self._start(group.start_soon)
                    except LedgerError as error:
                        _log.error("tasks cannot be taken: %s", error)
                    await self._wake.wait()
            finally:
                self._is_closing = True
                for stop in self._stops.values():
                    stop.set()

    async def _start(self, start: Callable[..., object]) -> None:
        while len(self._stops) < PARALLEL:
            claimed = await self.store.claim()
            if claimed is None:
                return
            task, content = claimed
            self._stops[task.id] = threading.Event()
            start(self._perform, task, content)

    async def _tick(self) -> None:
        """Look after what other workers left, deleted or put in; and forget what is old."""
        pruned = None
        while True:
            try:
                await self.store.take_over(REPEATABLE, INTERRUPTED)
                for task in await self.store.deleted(list(self._stops)):
                    self._stops[task].set()
                if pruned is None or self._clock.monotonic() - pruned > PRUNE_S:
                    await self.store.prune()
                    pruned = self._clock.monotonic()
            except LedgerError as error:
                _log.error("tasks cannot be looked after: %s", error)
            self._wake.set()
            await self._clock.sleep(POLL_S)

    async def _perform(self, task: Task, content: bytes | None) -> None:
        with anyio.CancelScope(shield=True):  # a call under way ends by itself, soon after its stop is set
            try:
                call = functools.partial(self._call, task, content or b"", self._stops[task.id])
                result = await self._clock.blocking(call)
                if result is None and task.command in REPEATABLE and self._is_closing:
                    await self.store.give_back([task.id])
                else:
                    error = {"code": "interrupted", "message": INTERRUPTED, "hint": "", "retryable": False}
                    result = {"error": error} if result is None else result
                    await self.store.finish(task.id, "failed" if "error" in result else "completed", result)
            except LedgerError as error:
                _log.error("what became of task %s cannot be kept: %s", task.id, error)
            finally:
                del self._stops[task.id]
                self._wake.set()

    def _call(self, task: Task, content: bytes, stop: threading.Event) -> dict[str, Any] | None:
        """Perform a task, in a thread; return its result, or None where it was stopped."""
        operation, trace = OPERATIONS.get(task.command), (task.user, task.command, task.resource, _paths(task))
        end = self._clock.monotonic() + self._time_s

        def check() -> None:
            if stop.is_set():
                raise Stopped
            if self._clock.monotonic() > end:
                raise UsageError(f"It took longer than {self._time_s:g} s.", "Do it in parts, or as a job.")

        try:
            root, is_readonly = self.roots.get(task.resource, (None, True))
            if operation is None or root is None:
                raise UsageError("The site no longer has this resource or operation.")
            if operation.is_change:
                if is_readonly:
                    raise UsageError("The resource is read-only.")
                _log.info("user %r does %s at %s: %s", *trace)
            check()
            work = Work(root, check, f".renkei-{task.id}.part", self._limits, content)
            return operation.output(work, task.args)
        except Stopped:
            return None
        except RenkeiError as error:
            if operation is not None and operation.is_change:
                _log.info("user %r could not do %s at %s: %s: %s", *trace, error.message)
            return {"error": error.to_json()}
        except Exception:  # noqa: BLE001 - a fault of ours: the user learns that, the log learns which
            _log.exception("user %r: %s at %s failed: %s", *trace)
            return {"error": RenkeiError("Something went wrong here; it is in the site's log.").to_json()}


def _paths(task: Task) -> str:
    """Return the paths that a task is about, as JSON, so that no name in them can look like another line of a log."""
    return msgspec.json.encode({key: value for key, value in task.args.items() if key.endswith("path")}).decode()


def shown(task: Task) -> dict[str, Any]:
    """Return a task as the IRI API shows it."""
    return {
        "id": task.id,
        "status": task.state,
        "result": None if task.result is None else msgspec.Raw(task.result),
        "command": {
            "router": "filesystem",
            "command": task.command,
            "args": {"resource_id": task.resource, **task.args},
        },
    }


def operations(store: Store, root: str) -> Sequence[Operation]:
    """Return the operations of the part "task" below `root`, for example "/api/v2".

    A task is seen by who submitted it, and by nobody else. Deleting one that waits or is at work also cancels it.
    """

    async def get_task(call: Call) -> Reply:
        task = await store.task(call.identity.user, call.path["task_id"])
        if task is None:
            raise not_found("task", call.path["task_id"])
        return reply(shown(task))

    async def get_tasks(call: Call) -> Reply:
        return reply([shown(task) for task in await store.tasks(call.identity.user)])

    async def delete_task(call: Call) -> Reply:
        task = await store.delete_task(call.identity.user, call.path["task_id"])
        if task is None:
            raise not_found("task", call.path["task_id"])
        was_alive = task.state in ("pending", "active")
        return reply(f"Task {task.id} was {'canceled and deleted' if was_alive else 'deleted'}.")

    return [
        Operation("GET", f"{root}/task/{{task_id}}", "getTask", get_task),
        Operation("DELETE", f"{root}/task/{{task_id}}", "deleteTask", delete_task),
        Operation("GET", f"{root}/task", "getTasks", get_tasks),
    ]
