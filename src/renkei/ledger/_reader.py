"""Reading a ledger file that another process may be writing, and verifying one offline."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from renkei.errors import IntegrityBroken, LedgerError
from renkei.ledger._ledger import check_format
from renkei.ledger._projection import Projection
from renkei.ledger.merkle import Tree, leaf_hash
from renkei.model.records import Record, read_record
from renkei.trust.keys import PublicKey
from renkei.trust.note import read_checkpoint

Row = TypeVar("Row", bound=msgspec.Struct)


class LedgerReader:
    """Reads a ledger file; never writes to it.

    Raises:
        LedgerError: There is no such file, it is not a ledger, or a newer renkei wrote it.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise LedgerError(f"There is no ledger at {path}.")
        try:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?{_mode(path)}", uri=True, timeout=10)
            check_format(self._db, path)
            self.owner = bytes(self._db.execute("SELECT value FROM meta WHERE key = 'owner'").fetchone()[0]).decode()
            key = self._db.execute("SELECT value FROM meta WHERE key = 'key'").fetchone()
        except (sqlite3.Error, TypeError, UnicodeDecodeError) as error:
            raise LedgerError(f"{path} cannot be read as a ledger: {error}.") from error
        self.path = path
        self.key = bytes(key[0]).decode("ascii", "replace") if key else ""

    @property
    def size(self) -> int:
        """How many durable records it has."""
        return int(self._db.execute("SELECT coalesce(max(seq) + 1, 0) FROM record").fetchone()[0])

    def rows(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (seq, bytes, hash) as they lie in the file, unchecked."""
        yield from self._db.execute("SELECT seq, bytes, hash FROM record ORDER BY seq")

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yield records from `start` on.

        Raises:
            IntegrityBroken: Bytes that are no record.
        """
        for seq, raw in self._db.execute("SELECT seq, bytes FROM record WHERE seq >= ? ORDER BY seq", (start,)):
            try:
                yield read_record(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise IntegrityBroken(
                    f"Record {seq} of {self.path} is not readable: {error}.", "Run: renkei ledger verify"
                ) from error

    def table(self, name: str, row_type: type[Row]) -> dict[str, Row]:
        """Return the saved rows of a projection by key."""
        read = msgspec.json.Decoder(row_type).decode
        rows = self._db.execute("SELECT key, row FROM projection WHERE name = ?", (name,))
        return {key: read(row) for key, row in rows}

    def saved(self, name: str) -> dict[str, bytes]:
        """Return the saved rows of a projection by key, as JSON."""
        return dict(self._db.execute("SELECT key, row FROM projection WHERE name = ?", (name,)))

    def notes(self) -> dict[int, str]:
        """Return the signed checkpoints by the number of records that they cover, oldest first."""
        return dict(self._db.execute("SELECT size, note FROM checkpoint ORDER BY size"))

    @property
    def tree_size(self) -> int:
        """How many records the saved tree counts."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'tree'").fetchone()
        return 0 if row is None else msgspec.json.decode(row[0], type=tuple[int, list[bytes]])[0]

    def leaf_hashes(self, size: int) -> list[bytes]:
        """Return the leaf hashes of the first `size` records."""
        return [row[0] for row in self._db.execute("SELECT hash FROM record WHERE seq < ? ORDER BY seq", (size,))]

    def hold(self) -> None:
        """See the ledger from now on as it is now, whatever is written meanwhile."""
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> "LedgerReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mode(path: Path) -> str:
    """Return how to open a ledger: one in a folder that nobody here may write is read as it lies."""
    is_at_rest = not path.with_name(path.name + "-wal").exists() and not os.access(path.parent, os.W_OK)
    return "immutable=1" if is_at_rest else "mode=ro"


class Finding(NamedTuple):
    """What verification found.

    Args:
        owner: Whose ledger it says it is.
        records: How many records were read.
        checkpoints: How many signed checkpoints held.
        covered: How many records, from the first, the last good checkpoint covers.
        root: The Merkle root over all records, hex.
        first_bad: Sequence number of the first bad record, or None.
        problem: What is wrong, in one sentence; empty when nothing is.
    """

    owner: str
    records: int
    checkpoints: int
    covered: int
    root: str
    first_bad: int | None = None
    problem: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def verify(path: Path, key: PublicKey | None = None, projections: Sequence[Projection] = ()) -> Finding:
    """Read a whole ledger file and check everything in it that can be checked offline.

    Every record's bytes against its hash, its place against the number that it carries, every checkpoint's two
    signatures and its root against the records before it, that no checkpoint covers more records than there are,
    and, where `projections` are given (freshly made), that folding the records gives the saved rows.

    Args:
        path: The ledger file.
        key: Whose signature must be on the checkpoints; without it, the key that the file itself names.
        projections: Empty ones, to be folded and compared.

    Raises:
        LedgerError: The file cannot be read as a ledger at all.
    """
    with LedgerReader(path) as ledger:
        try:
            ledger.hold()
            return _verify(ledger, key or PublicKey.parse(ledger.key), projections)
        except sqlite3.DatabaseError as error:
            return Finding(ledger.owner, 0, 0, 0, "", 0, f"the file itself is damaged: {error}")


def _verify(ledger: LedgerReader, key: PublicKey, projections: Sequence[Projection]) -> Finding:
    tree, covered, n_good = Tree(), 0, 0
    notes = ledger.notes()

    def finding(first_bad: int | None, problem: str) -> Finding:
        return Finding(ledger.owner, tree.size, n_good, covered, tree.root().hex(), first_bad, problem)

    for seq, raw, digest in ledger.rows():
        expected = tree.size
        if seq != expected:
            return finding(expected, f"record {expected} is missing: the next one in the file is {seq}")
        if problem := _record_problem(seq, raw, digest, projections):
            return finding(seq, problem)
        tree.append(digest)
        if tree.size in notes:
            problem = _note_problem(notes[tree.size], ledger.owner, tree, key)
            if problem:
                where = f"record {covered}" if covered < seq else f"record {seq}"
                return finding(covered if covered <= seq else seq, f"{problem}; the first record in doubt is {where}")
            covered, n_good = tree.size, n_good + 1
    beyond = [size for size in notes if size > tree.size]
    if beyond:
        return finding(
            tree.size, f"the file was truncated: a checkpoint covers {max(beyond)} records, {tree.size} are here"
        )
    counted = ledger.tree_size
    if counted != tree.size:
        return finding(tree.size, f"the file was truncated: its tree counts {counted} records, {tree.size} are here")
    for projection in projections:
        folded = {k: row for k, row in projection.changes() if row is not None}
        if folded != ledger.saved(projection.name):
            return finding(None, f"the saved table '{projection.name}' is not what the records fold to")
    return finding(None, "")


def _record_problem(seq: int, raw: object, digest: object, projections: Iterable[Projection]) -> str:
    if not isinstance(raw, bytes) or not isinstance(digest, bytes):
        return f"record {seq} is not bytes"
    if leaf_hash(raw) != digest:
        return f"record {seq} does not match its hash: its bytes were changed"
    try:
        record = read_record(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"record {seq} is not readable: {error}"
    if record.seq != seq:
        return f"record {seq} carries the number {record.seq}: records were swapped or inserted"
    for projection in projections:
        if isinstance(record.body, projection.bodies):
            try:
                projection.apply(seq, record.at, record.body)
            except (LookupError, TypeError, ValueError, msgspec.DecodeError) as error:
                return f"record {seq} ({record.kind}) contradicts the records before it: {error!r}"
    return ""


def _note_problem(note: object, owner: str, tree: Tree, key: PublicKey) -> str:
    try:
        head = read_checkpoint(str(note), key)
    except IntegrityBroken as error:
        return f"the checkpoint over {tree.size} records is not valid: {error.message}"
    if head.origin != owner or head.size != tree.size or head.root != tree.root():
        return f"the checkpoint over {tree.size} records does not match the records before it"
    return ""
