"""What the IRI API must not forget: tasks, and answers to requests that may be repeated.

It is one SQLite file for all workers on a machine.

A task is worked on by one worker, for as long as that is alive (`Leases`).
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
import msgspec

from renkei.api.iri._leases import Leases
from renkei.clock import Clock
from renkei.errors import LedgerError, SiteError
from renkei.ids import IdMint

T = TypeVar("T")

FORMAT = 1
"""The version of the file's tables; a file of a newer one is refused."""
APPLICATION_ID = 0x726E6B69  # "rnki"

KEEP_TASK_S = 7 * 86_400.0
"""How long a task that ended, or was deleted, is kept."""
KEEP_ANSWER_S = 86_400.0
"""How long an answer is kept for a request that is repeated with the same Idempotency-Key."""
KEEP_BYTES = 256 << 20
"""How many bytes of results are kept for a user; beyond that, the oldest of the ended tasks go."""
LIVE_MAX = 200
"""How many tasks of one user may wait or be at work."""
ACTIVE_MAX = 2
"""How many tasks of one user are at work at the same time, in all workers together."""
LISTED_MAX = 1000
"""How many tasks a list has, the newest."""
LISTED_RESULT_BYTES = 4 << 10
"""A result longer than this, as JSON, is left out of lists."""

TaskState = Literal["pending", "active", "completed", "failed", "canceled"]

_TABLES = """
CREATE TABLE task (
    id TEXT PRIMARY KEY, user TEXT NOT NULL, resource TEXT NOT NULL, command TEXT NOT NULL, args BLOB NOT NULL,
    state TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL,
    worker TEXT NOT NULL DEFAULT '', is_deleted INTEGER NOT NULL DEFAULT 0,
    result BLOB, content BLOB -- last, since what comes after something long takes long to read
);
CREATE INDEX task_of_user ON task (user, id);
CREATE INDEX task_at_work ON task (user, state);
CREATE INDEX task_of_state ON task (state, id);
CREATE TABLE answer (
    user TEXT, operation TEXT, resource TEXT, key TEXT, digest BLOB NOT NULL, id TEXT NOT NULL,
    worker TEXT NOT NULL, status INTEGER, body BLOB, created REAL NOT NULL,
    PRIMARY KEY (user, operation, resource, key)
);
CREATE INDEX answer_made ON answer (created);
"""
_COLUMNS = "id, user, resource, command, args, state, created, started, ended"


class Crowded(SiteError):  # noqa: N818 - as the errors of renkei are named
    """A user has as many tasks waiting as one may have."""

    code = "crowded"
    retryable = True


class Task(msgspec.Struct, frozen=True):
    """A task as it stands.

    Args:
        id: Its identity.
        user: Whose it is.
        resource: The resource that it works on.
        command: The operation, for example "chmod".
        args: What the operation was asked for.
        state: Where it stands, in the words of the IRI API.
        created: When it came, in seconds since 1970-01-01 UTC.
        started: When it was last begun.
        ended: When it ended.
        result: What came of it, as JSON; None before that, and in a list where it is long.
    """

    id: str
    user: str
    resource: str
    command: str
    args: dict[str, Any]
    state: TaskState
    created: float
    started: float | None
    ended: float | None
    result: bytes | None = None


class Attempt(msgspec.Struct, frozen=True):
    """A request with an Idempotency-Key that is to be carried out now, and answered or released then.

    Args:
        user: Who asks.
        operation: What for.
        resource: On what.
        key: The Idempotency-Key.
        id: A UUIDv7 that is the same for every attempt at this request, also after a crash in the middle of one: as
            the identity of what the request makes, it keeps that from being made twice.
    """

    user: str
    operation: str
    resource: str
    key: str
    id: str


class Answer(msgspec.Struct, frozen=True):
    """What was answered to the same request before.

    Args:
        status: The HTTP status.
        body: The body, byte for byte.
    """

    status: int
    body: bytes


Refusal = Literal["in progress", "other body"]
"""Why a request with an Idempotency-Key is not carried out: the same one is at work, or the key stood for another."""


class Store:
    """Tasks and answers in one SQLite file, for any number of processes on one machine.

    Every method is called from the event loop's thread; writes are made in a thread, and are durable when they return.

    Args:
        path: The file; made, for its owner alone, if it is not there. Locks of workers lie beside it.
        clock: Time, randomness, threads.

    Raises:
        LedgerError: The file is not such a store, is of a newer version, or cannot be opened.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self._clock = path, clock
        self._mint = IdMint(clock)
        self.worker = self._mint.new()
        self._lock = threading.Lock()
        self._turn = anyio.Lock()  # so that those that wait to write do it here, and not in so many threads
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)  # SQLite gives its other files the same mode
            self._leases = Leases(path.with_name(f"{path.name}.workers"), self.worker)
            self._db = _connect(path)
            self._reads = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"The store {path} cannot be opened: {error}.") from error

    def close(self) -> None:
        """Close the file and give up everything that this worker was at: others see it as ended. Blocks shortly."""
        with self._lock:
            self._db.close()
            self._reads.close()
            self._leases.close()

    # ---- tasks -----------------------------------------------------------------------------------------------

    async def add_task(
        self, user: str, resource: str, command: str, args: Mapping[str, Any], content: bytes | None = None
    ) -> str:
        """Put a task behind those that wait; return its id.

        Args:
            user: Whose it is.
            resource: What it works on.
            command: The operation.
            args: What the operation is asked for; plain JSON values.
            content: Bytes that go with it and are forgotten when it ends.

        Raises:
            Crowded: The user has too many that wait or are at work.
        """
        made, raw, now = self._mint.new(), msgspec.json.encode(args), self._clock.now()

        def add(db: sqlite3.Connection) -> str:
            query = "SELECT count(*) FROM task WHERE state IN ('pending', 'active') AND user = ? AND NOT is_deleted"
            if db.execute(query, (user,)).fetchone()[0] >= LIVE_MAX:
                raise Crowded(
                    f"You have {LIVE_MAX} tasks that have not ended.", "Wait until some have, or delete them."
                )
            db.execute(
                "INSERT INTO task (id, user, resource, command, args, state, content, created)"
                " VALUES (?, ?, ?, ?, ?, 'pending', ?, ?)",
                (made, user, resource, command, raw, content, now),
            )
            return made

        return await self._write(add)

    async def task(self, user: str, task: str) -> Task | None:
        """Return a task of a user with its result, or None where the user has no such task."""
        query = f"SELECT {_COLUMNS}, result FROM task WHERE id = ? AND user = ? AND NOT is_deleted"  # noqa: S608
        rows = await self._read(query, (task, user))
        return _task(rows[0]) if rows else None

    async def tasks(self, user: str) -> list[Task]:
        """Return a user's tasks, newest first; long results are left out, and so are those beyond `LISTED_MAX`."""
        query = (
            f"SELECT {_COLUMNS}, CASE WHEN length(result) <= {LISTED_RESULT_BYTES} THEN result END FROM task"  # noqa: S608
            f" WHERE user = ? AND NOT is_deleted ORDER BY id DESC LIMIT {LISTED_MAX}"
        )
        return [_task(row) for row in await self._read(query, (user,))]

    async def delete_task(self, user: str, task: str) -> Task | None:
        """Delete a task: it is shown no more, one that waits is never begun, and one at work is asked to stop.

        Returns:
            The task as it stood before; None where the user has no such task.
        """
        now = self._clock.now()

        def delete(db: sqlite3.Connection) -> Task | None:
            query = f"SELECT {_COLUMNS}, NULL FROM task WHERE id = ? AND user = ? AND NOT is_deleted"  # noqa: S608
            row = db.execute(query, (task, user)).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE task SET is_deleted = 1, result = NULL, ended = coalesce(ended, ?),"
                " state = CASE state WHEN 'pending' THEN 'canceled' ELSE state END,"
                " content = CASE state WHEN 'pending' THEN NULL ELSE content END WHERE id = ?",
                (now, task),
            )
            return _task(row)

        return await self._write(delete)

    async def claim(self) -> tuple[Task, bytes | None] | None:
        """Take the lease on the oldest task that waits and whose user has fewer than `ACTIVE_MAX` at work.

        Returns:
            The task, active now, and its content; None where there is no such task.
        """
        if not await self._read("SELECT 1 FROM task WHERE state = 'pending' LIMIT 1", ()):
            return None
        now = self._clock.now()

        def take(db: sqlite3.Connection) -> tuple[Task, bytes | None] | None:
            row = db.execute(
                f"SELECT {_COLUMNS}, NULL, content FROM task WHERE state = 'pending' AND user NOT IN"  # noqa: S608
                " (SELECT user FROM task WHERE state = 'active' GROUP BY user HAVING count(*) >= ?)"
                " ORDER BY id LIMIT 1",
                (ACTIVE_MAX,),
            ).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE task SET state = 'active', started = ?, worker = ? WHERE id = ?", (now, self.worker, row[0])
            )
            return _task((*row[:5], "active", row[6], now, *row[8:-1])), row[-1]

        return await self._write(take)

    async def finish(self, task: str, state: TaskState, result: Mapping[str, Any]) -> bool:
        """End a task on which this worker has the lease; return whether it had it. A deleted one ends as canceled."""
        now, raw = self._clock.now(), msgspec.json.encode(result)

        def end(db: sqlite3.Connection) -> bool:
            changed = db.execute(
                "UPDATE task SET state = CASE WHEN is_deleted THEN 'canceled' ELSE ? END, ended = ?, content = NULL,"
                " result = CASE WHEN is_deleted THEN NULL ELSE ? END"
                " WHERE id = ? AND state = 'active' AND worker = ?",
                (state, now, raw, task, self.worker),
            )
            return changed.rowcount == 1

        return await self._write(end)

    async def give_back(self, tasks: Sequence[str]) -> None:
        """Let tasks of this worker wait again, for any worker."""

        def release(db: sqlite3.Connection) -> None:
            for task in tasks:
                db.execute(
                    "UPDATE task SET worker = '', state = CASE WHEN is_deleted THEN 'canceled' ELSE 'pending' END"
                    " WHERE id = ? AND worker = ? AND state = 'active'",
                    (task, self.worker),
                )

        await self._write(release)

    async def deleted(self, tasks: Sequence[str]) -> list[str]:
        """Return which of these tasks were deleted meanwhile, by whichever worker."""
        if not tasks:
            return []
        marks = ", ".join("?" * len(tasks))
        return [row[0] for row in await self._read(f"SELECT id FROM task WHERE is_deleted AND id IN ({marks})", tasks)]  # noqa: S608

    async def take_over(self, repeatable: frozenset[str], message: str) -> int:
        """Settle the tasks whose worker is no more: those that can be repeated wait again, the others have failed.

        Args:
            repeatable: The operations that can be repeated.
            message: What the others have as their error.

        Returns:
            How many tasks it settled.
        """
        now = self._clock.now()
        if not await self._read("SELECT 1 FROM task WHERE state = 'active' AND worker != ? LIMIT 1", (self.worker,)):
            return 0
        error = {"code": "interrupted", "message": message, "hint": "", "retryable": False}
        raw = msgspec.json.encode({"error": error})

        def settle(db: sqlite3.Connection) -> int:
            n = 0
            for (worker,) in db.execute("SELECT DISTINCT worker FROM task WHERE state = 'active'").fetchall():
                if self._leases.is_alive(worker):
                    continue
                for task, command, is_deleted in db.execute(
                    "SELECT id, command, is_deleted FROM task WHERE state = 'active' AND worker = ?", (worker,)
                ).fetchall():
                    n += 1
                    if is_deleted:
                        db.execute("UPDATE task SET state = 'canceled', content = NULL WHERE id = ?", (task,))
                    elif command in repeatable:
                        db.execute("UPDATE task SET state = 'pending', worker = '' WHERE id = ?", (task,))
                    else:
                        db.execute(
                            "UPDATE task SET state = 'failed', result = ?, content = NULL, ended = ? WHERE id = ?",
                            (raw, now, task),
                        )
            return n

        return await self._write(settle)

    # ---- requests that may be repeated -----------------------------------------------------------------------

    async def begin(
        self, user: str, operation: str, resource: str, key: str, digest: bytes
    ) -> Attempt | Answer | Refusal:
        """Look up a request with an Idempotency-Key.

        Args:
            user: Who asks.
            operation: What for.
            resource: On what; "" where the operation has none.
            key: The Idempotency-Key.
            digest: The digest of the body.

        Returns:
            An `Attempt` to be carried out, then answered or released; or the `Answer` that was given before; or why
            neither: the same request is at work in some worker, or the key stood for another body.
        """
        now, made = self._clock.now(), self._mint.new()
        where = "WHERE user = ? AND operation = ? AND resource = ? AND key = ?"

        def look(db: sqlite3.Connection) -> Attempt | Answer | Refusal:
            row = db.execute(
                f"SELECT digest, id, worker, status, body, created FROM answer {where}",  # noqa: S608
                (user, operation, resource, key),
            ).fetchone()
            if row is not None and now - row[5] > KEEP_ANSWER_S and not self._leases.is_alive(row[2]):
                db.execute(f"DELETE FROM answer {where}", (user, operation, resource, key))  # noqa: S608
                row = None
            if row is None:
                db.execute(
                    "INSERT INTO answer (user, operation, resource, key, digest, id, worker, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (user, operation, resource, key, digest, made, self.worker, now),
                )
                return Attempt(user, operation, resource, key, made)
            if row[0] != digest:
                return "other body"
            if row[3] is not None:
                return Answer(row[3], row[4])
            if self._leases.is_alive(row[2]):
                return "in progress"
            db.execute(f"UPDATE answer SET worker = ? {where}", (self.worker, user, operation, resource, key))  # noqa: S608
            return Attempt(user, operation, resource, key, row[1])

        return await self._write(look)

    async def answer(self, attempt: Attempt, status: int, body: bytes) -> None:
        """Keep what is answered to an attempt, for `KEEP_ANSWER_S` from the first one."""

        def keep(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE answer SET status = ?, body = ?, worker = '' WHERE id = ? AND worker = ?",
                (status, body, attempt.id, self.worker),
            )

        await self._write(keep)

    async def release(self, attempt: Attempt, *, forget: bool) -> None:
        """Give up an attempt without an answer.

        Args:
            attempt: The attempt.
            forget: Whether nothing came of it, so that the key may also stand for another body; else only the same
                request may be tried again, and has the same id.
        """
        query = "DELETE FROM answer" if forget else "UPDATE answer SET worker = ''"

        def give_up(db: sqlite3.Connection) -> None:
            db.execute(f"{query} WHERE id = ? AND worker = ? AND status IS NULL", (attempt.id, self.worker))

        await self._write(give_up)

    # ---- housekeeping ----------------------------------------------------------------------------------------

    async def prune(self) -> None:
        """Forget what nobody needs any more: see `KEEP_TASK_S`, `KEEP_BYTES` and `KEEP_ANSWER_S`."""
        now = self._clock.now()

        def forget(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM task WHERE state NOT IN ('pending', 'active') AND ended < ?", (now - KEEP_TASK_S,))
            db.execute("DELETE FROM task WHERE state NOT IN ('pending', 'active') AND is_deleted")
            db.execute(
                "DELETE FROM task WHERE id IN (SELECT id FROM (SELECT id, state,"
                " sum(length(result)) OVER (PARTITION BY user ORDER BY id DESC) AS bytes FROM task"
                " WHERE result IS NOT NULL) WHERE bytes > ? AND state NOT IN ('pending', 'active'))",
                (KEEP_BYTES,),
            )
            for user, operation, resource, key, worker in db.execute(
                "SELECT user, operation, resource, key, worker FROM answer WHERE created < ?", (now - KEEP_ANSWER_S,)
            ).fetchall():
                if not self._leases.is_alive(worker):
                    db.execute(
                        "DELETE FROM answer WHERE user = ? AND operation = ? AND resource = ? AND key = ?",
                        (user, operation, resource, key),
                    )
            self._leases.sweep()

        await self._write(forget)

    # ---- inside ----------------------------------------------------------------------------------------------

    async def _read(self, query: str, values: Sequence[object]) -> list[Any]:
        def read() -> list[Any]:
            try:
                return self._reads.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise LedgerError(f"The store {self.path} cannot be read: {error}.") from error

        return await self._clock.blocking(read, is_brief=True)

    async def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def write() -> T:
            try:
                with self._lock, _transaction(self._db):
                    return change(self._db)
            except sqlite3.Error as error:
                raise LedgerError(f"The store {self.path} cannot be written: {error}.") from error

        async with self._turn:
            return await self._clock.blocking(write)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _task(row: Sequence[Any]) -> Task:
    task, user, resource, command, args, *rest = row
    return Task(task, user, resource, command, msgspec.json.decode(args), *rest)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    with _transaction(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        application = db.execute("PRAGMA application_id").fetchone()[0]
        is_empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not is_empty and application != APPLICATION_ID:
            raise LedgerError(f"{path} is not a store of the IRI API.", "Move it away: a new one is made.")
        if version > FORMAT:
            raise LedgerError(f"{path} was written by a newer renkei.", "Upgrade renkei to open it.")
        if is_empty:
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
    return db
