"""A ledger: an append-only sequence of records in one SQLite file, with group commit and signed checkpoints."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from renkei.clock import Clock
from renkei.errors import Conflict, IntegrityBroken, LedgerError
from renkei.ledger._projection import Projection
from renkei.ledger.merkle import Tree, leaf_hash
from renkei.model.records import Body, write_record
from renkei.trust.keys import Key
from renkei.trust.note import Checkpoint, sign_checkpoint

FORMAT = 1
"""The version of the file's tables; a file of a newer one is refused."""

APPLICATION_ID = 0x72656E6B  # "renk"

_CHUNKS = (1024, 256, 64, 16, 4, 1)
"""How many rows go into one statement: few sizes, so that each is prepared once."""

QUICK_RECORDS = 16
QUICK_S = 2e-3
"""A commit of so few records is made at once where the one before took so little: a thread would cost more."""

WAL_STEP_BYTES = 1 << 19
"""By how much the write-ahead log is lengthened at once, once it is longer than that."""

_TABLES = """
CREATE TABLE record (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE projection (name TEXT, key TEXT, row BLOB NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A record that has its place and its bytes, and is durable once `Ledger.sync` returned."""

    seq: int
    raw: bytes
    body: Body


class Ledger:
    """The one writer of a ledger file.

    `append` gives a record its place and folds it into the projections at once, in memory; `sync` returns when
    everything appended so far is on disk, together with the projections. Calls of `sync` that come while a commit
    is under way share the next one, so any number of tasks pay for one fsync. No effect of a record may leave the
    process before `sync` returned. When a commit fails, the ledger refuses everything from then on: what is on
    disk is consistent, and opening it again goes on from there.

    All methods belong to the event loop's thread.

    Args:
        path: The SQLite file; made if it is not there.
        owner: Whose ledger: "site/NAME" or "campaign/NAME"; part of every checkpoint.
        key: Signs checkpoints.
        clock: Time for records, threads for commits.
        projections: Folded at every append; their rows are loaded at opening.
        checkpoint_s: A checkpoint is signed at the first commit this many seconds after the one before.

    Raises:
        LedgerError: The file is not a ledger, belongs to another owner or is of a newer version, or cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        owner: str,
        key: Key,
        clock: Clock,
        projections: Sequence[Projection] = (),
        *,
        checkpoint_s: float = 1.0,
    ) -> None:
        self.path, self.owner, self.clock = path, owner, clock
        self._key, self._projections, self._checkpoint_s = key, projections, checkpoint_s
        self._folds: dict[type[Body], list[Callable[[int, float, Body], None]]] = {}
        for projection in projections:
            for kind in projection.bodies:
                self._folds.setdefault(kind, []).append(projection.apply)
        self._pending: list[Appended] = []
        self._commit: anyio.Event | None = None
        self._commit_s = 0.0
        self._wal, self._wal_bytes = path.with_name(f"{path.name}-wal"), 0
        self._broken: LedgerError | None = None
        self._failure: anyio.Event | None = None
        self._followers: list[Callable[[Sequence[Appended]], None]] = []
        self._db = _open(path, owner, key)
        if self._wal.exists():  # the log of a process that died, zeros behind it included, is long enough for a while
            self._wal_bytes = self._wal.stat().st_size
        self._tree = self._restore()
        self.durable_size = self._size = self._tree.size
        self._checkpoint_size = int(self._one("SELECT coalesce(max(size), 0) FROM checkpoint"))
        self._checkpoint_at = clock.monotonic()
        for projection in projections:
            projection.load(self._db.execute("SELECT key, row FROM projection WHERE name = ?", (projection.name,)))

    @property
    def size(self) -> int:
        """How many records it has, those that are not yet durable included."""
        return self._size

    def append(self, body: Body) -> Appended:
        """Put a record at the end and fold it into the projections; it is durable after the next `sync`.

        Raises:
            LedgerError: An earlier commit failed.
        """
        if self._broken is not None:
            raise self._broken
        seq, at = self._size, self.clock.now()
        raw = write_record(seq, at, body)
        appended = Appended(seq, raw, body)
        self._pending.append(appended)
        self._size = seq + 1
        for fold in self._folds.get(type(body), ()):
            fold(seq, at, body)
        return appended

    async def sync(self, *, meanwhile: bool = False) -> None:
        """Return when every record appended so far is durable.

        Args:
            meanwhile: Other tasks have something to do in that time: leave even a small commit to a thread.

        Raises:
            LedgerError: The commit failed (disk full, file gone); the ledger is closed to further records.
        """
        target = self._size
        while self.durable_size < target:
            if self._broken is not None:
                raise self._broken
            if self._commit is not None:
                await self._commit.wait()
            else:
                with anyio.CancelScope(shield=True):
                    await self._commit_pending(signed=False, meanwhile=meanwhile)

    async def checkpoint(self) -> str:
        """Make everything durable, sign the tree head if that was not done, and return the signed note.

        Raises:
            LedgerError: See `sync`.
        """
        await self.sync()
        while self._checkpoint_size < self.durable_size:
            if self._commit is not None:
                await self._commit.wait()
            else:
                with anyio.CancelScope(shield=True):
                    await self._commit_pending(signed=True, meanwhile=True)
        return str(self._one("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"))

    def follow(self, call: Callable[[Sequence[Appended]], None]) -> None:
        """Have `call` told of records, in order, each time some became durable; it must not block or raise."""
        self._followers.append(call)

    def read(self, seq: int) -> bytes:
        """Return the bytes of one durable record.

        Raises:
            LedgerError: There is no such record.
        """
        row = self._db.execute("SELECT bytes FROM record WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise LedgerError(f"{self.owner} has no record {seq}.")
        return row[0]

    def read_from(self, seq: int) -> list[bytes]:
        """Return the bytes of every durable record from `seq` on."""
        return [row[0] for row in self._db.execute("SELECT bytes FROM record WHERE seq >= ? ORDER BY seq", (seq,))]

    def leaf_hashes(self, size: int) -> list[bytes]:
        """Return the leaf hashes of the first `size` durable records, for proofs."""
        return [row[0] for row in self._db.execute("SELECT hash FROM record WHERE seq < ? ORDER BY seq", (size,))]

    def relax(self) -> None:
        """Leave it to the operating system when commits reach the disk.

        For simulations, whose processes die in name only: a crash of this process may leave a file that cannot be read.
        """
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = MEMORY")

    async def failed(self) -> NoReturn:
        """Wait until a commit fails.

        Raises:
            LedgerError: It did; what `sync` raises.
        """
        if self._broken is None:
            self._failure = self._failure or anyio.Event()
            await self._failure.wait()
        assert self._broken is not None
        raise self._broken

    async def close(self) -> None:
        """Sign a last checkpoint and close the file. A ledger whose commit failed is only closed."""
        try:
            if self._broken is None and self.size:
                await self.checkpoint()
        finally:
            self._db.close()

    async def _commit_pending(self, *, signed: bool, meanwhile: bool) -> None:
        done = self._commit = anyio.Event()
        await checkpoint()  # what others are about to append shares this commit
        batch, self._pending = self._pending, []
        hashes = [leaf_hash(each.raw) for each in batch]
        self._tree.extend(hashes)
        now = self.clock.monotonic()
        size = self._tree.size
        sign = signed or (now - self._checkpoint_at >= self._checkpoint_s and size > self._checkpoint_size)
        head = Checkpoint(self.owner, size, self._tree.root()) if sign else None
        is_quick = len(batch) <= QUICK_RECORDS and self._commit_s < QUICK_S and head is None and not meanwhile
        records = [value for a, h in zip(batch, hashes, strict=True) for value in (a.seq, a.raw, h)]
        rows = [value for p in self._projections for key, row in p.changes() for value in (p.name, key, row)]
        frontier = _frontier(self._tree)
        db = self._db

        def commit() -> None:
            began = self.clock.monotonic()
            db.execute("BEGIN IMMEDIATE")
            _insert(db, "INSERT INTO record", records, "")
            _insert(db, "INSERT INTO projection", rows, " ON CONFLICT DO UPDATE SET row = excluded.row")
            db.execute("INSERT OR REPLACE INTO meta VALUES ('tree', ?)", (frontier,))
            if head is not None:
                note = sign_checkpoint(self._key, head)
                db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", (head.size, note))
            db.execute("COMMIT")
            self._commit_s = self.clock.monotonic() - began
            self._lengthen_wal()

        try:
            await self.clock.blocking(commit, is_brief=is_quick)
        except sqlite3.IntegrityError as error:
            self._fail(Conflict(f"Another process wrote to {self.path}.", "Only one process may use a home."), error)
        except (sqlite3.Error, OSError) as error:
            hint = "Free some space, then start again: everything acknowledged so far is kept."
            self._fail(LedgerError(f"The ledger {self.path} cannot be written: {error}.", hint), error)
        else:
            self.durable_size = size
            if head is not None:
                self._checkpoint_size, self._checkpoint_at = size, now
            for call in self._followers:
                call(batch)
        finally:
            self._commit = None
            done.set()

    def _lengthen_wal(self) -> None:
        """Put zeros behind SQLite's write-ahead log where a commit made it longer.

        A commit that writes over what is there takes half the time of one that makes the file longer, since the disk
        need not keep the new size. SQLite's recovery reads a log up to the first frame that is not its own.
        """
        try:
            if self._wal.stat().st_size > max(self._wal_bytes, WAL_STEP_BYTES):
                with open(self._wal, "ab") as wal:
                    wal.write(bytes(WAL_STEP_BYTES))
                    self._wal_bytes = wal.tell()
        except OSError:
            pass  # the commit stands; the next one finds out whether the disk is full

    def _fail(self, broken: LedgerError, cause: Exception) -> None:
        self._broken = broken
        if self._failure is not None:
            self._failure.set()
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # the transaction is gone with the connection; the file stays as it was
        raise broken from cause

    def _restore(self) -> Tree:
        row = self._db.execute("SELECT value FROM meta WHERE key = 'tree'").fetchone()
        tree = Tree() if row is None else Tree.restore(*msgspec.json.decode(row[0], type=tuple[int, list[bytes]]))
        n = int(self._one("SELECT coalesce(max(seq) + 1, 0) FROM record"))
        if n != tree.size:
            raise IntegrityBroken(
                f"{self.path} holds {n} records but its tree counts {tree.size}.",
                f"Run: renkei ledger verify {self.path}",
            )
        return tree

    def _one(self, query: str) -> int | str:
        return self._db.execute(query).fetchone()[0]


def _insert(db: sqlite3.Connection, head: str, values: Sequence[object], tail: str) -> None:
    """Insert rows of three values, many in one statement.

    A statement gives the GIL up once, however many rows it has, and then needs it back from a busy event loop.
    """
    at, n_left = 0, len(values) // 3
    for n in _CHUNKS:
        while n_left >= n:
            db.execute(f"{head} VALUES {', '.join(['(?, ?, ?)'] * n)}{tail}", values[at : at + 3 * n])
            at, n_left = at + 3 * n, n_left - n


def _frontier(tree: Tree) -> bytes:
    return msgspec.json.encode((tree.size, tree.hashes))


def _open(path: Path, owner: str, key: Key) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 8000")  # pages; the same ones are written over and over
        check_format(db, path)
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.executescript(
                f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
            )
        db.execute("INSERT OR IGNORE INTO meta VALUES ('owner', ?)", (owner.encode(),))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('key', ?)", (key.public.text.encode(),))
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"The ledger {path} cannot be opened: {error}.") from error
    found = bytes(db.execute("SELECT value FROM meta WHERE key = 'owner'").fetchone()[0]).decode()
    if found != owner:
        db.close()
        raise LedgerError(f"{path} is the ledger of {found}, not of {owner}.")
    return db


def check_format(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is no ledger or is of a newer version.

    Raises:
        LedgerError: It is.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    is_empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not is_empty and application != APPLICATION_ID:
        raise LedgerError(f"{path} is not a renkei ledger.")
    if version > FORMAT:
        raise LedgerError(
            f"{path} was written by a newer renkei (ledger format {version}, this one reads {FORMAT}).",
            "Upgrade renkei to open it.",
        )
