"""Verification finds whatever was done to a ledger file, and names the first bad record."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from renkei.accounts import Books
from renkei.ledger import Ledger, verify
from renkei.ledger.merkle import leaf_hash
from renkei.model.records import AllocationGranted, write_record
from renkei.trust.keys import Key

pytestmark = pytest.mark.anyio

N = 40


async def sound_ledger(path: Path, key: Key, clock: object) -> None:
    """Write 40 records with a checkpoint after each tenth, and five more behind the last checkpoint."""
    ledger = Ledger(path, "site/here", key, clock, [Books()], checkpoint_s=1e9)  # type: ignore[arg-type]
    for n in range(N):
        ledger.append(AllocationGranted("fusion", n, "sample", "x" * (n % 7)))
        if n % 10 == 9:
            await ledger.checkpoint()
    for n in range(5):
        ledger.append(AllocationGranted("fusion", n, "sample", "tail"))
    await ledger.sync()
    ledger._db.close()


async def test_a_sound_ledger_is_sound(tmp_path: Path, key: Key, clock: object) -> None:
    await sound_ledger(tmp_path / "l.db", key, clock)
    finding = verify(tmp_path / "l.db", key.public, [Books()])
    assert finding.is_sound
    assert (finding.records, finding.checkpoints, finding.covered) == (45, 4, 40)


def flip(db: sqlite3.Connection, seq: int) -> None:
    raw = bytearray(db.execute("SELECT bytes FROM record WHERE seq = ?", (seq,)).fetchone()[0])
    raw[len(raw) // 2] ^= 1
    db.execute("UPDATE record SET bytes = ? WHERE seq = ?", (bytes(raw), seq))


def flip_hash(db: sqlite3.Connection, seq: int) -> None:
    raw = bytearray(db.execute("SELECT hash FROM record WHERE seq = ?", (seq,)).fetchone()[0])
    raw[3] ^= 1
    db.execute("UPDATE record SET hash = ? WHERE seq = ?", (bytes(raw), seq))


def drop(db: sqlite3.Connection, seq: int) -> None:
    db.execute("DELETE FROM record WHERE seq = ?", (seq,))


def swap(db: sqlite3.Connection, seq: int) -> None:
    rows = [db.execute("SELECT bytes, hash FROM record WHERE seq = ?", (n,)).fetchone() for n in (seq, seq + 1)]
    for n, row in zip((seq + 1, seq), rows, strict=True):
        db.execute("UPDATE record SET bytes = ?, hash = ? WHERE seq = ?", (*row, n))


def insert(db: sqlite3.Connection, seq: int) -> None:
    for n in range(db.execute("SELECT max(seq) FROM record").fetchone()[0], seq - 1, -1):
        db.execute("UPDATE record SET seq = ? WHERE seq = ?", (n + 1, n))
    raw = write_record(seq, 1.0, AllocationGranted("fusion", 10**12, "sample", "forged"))
    db.execute("INSERT INTO record VALUES (?, ?, ?)", (seq, raw, leaf_hash(raw)))


@pytest.mark.parametrize("change", [flip, flip_hash, drop, swap, insert])
@pytest.mark.parametrize("seq", [0, 9, 10, 23, 38])
async def test_the_first_bad_record_is_named(
    change: Callable[[sqlite3.Connection, int], None], seq: int, tmp_path: Path, key: Key, clock: object
) -> None:
    path = tmp_path / "l.db"
    await sound_ledger(path, key, clock)
    with sqlite3.connect(path) as db:
        change(db, seq)
    db.close()
    expected = seq
    if change is insert:  # the forged record is well-formed: the one behind it, or the checkpoint, gives it away
        expected = 0 if seq == 9 else seq + 1
    finding = verify(path, key.public)
    assert not finding.is_sound
    assert finding.first_bad == expected
    assert str(expected) in finding.problem


async def test_a_forged_record_with_the_right_number_is_found_by_the_checkpoint_behind_it(
    tmp_path: Path, key: Key, clock: object
) -> None:
    path = tmp_path / "l.db"
    await sound_ledger(path, key, clock)
    raw = write_record(25, 1.0, AllocationGranted("fusion", 10**12, "sample", "forged"))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE record SET bytes = ?, hash = ? WHERE seq = 25", (raw, leaf_hash(raw)))
    db.close()
    finding = verify(path, key.public)
    assert finding.first_bad == 20
    assert finding.covered == 20
    assert "checkpoint over 30 records does not match" in finding.problem


@pytest.mark.parametrize("n_left", [0, 20, 39, 40, 44])
async def test_truncation_is_found(n_left: int, tmp_path: Path, key: Key, clock: object) -> None:
    path = tmp_path / "l.db"
    await sound_ledger(path, key, clock)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM record WHERE seq >= ?", (n_left,))
    db.close()
    finding = verify(path, key.public)
    assert finding.first_bad == n_left
    assert "truncated" in finding.problem


async def test_another_key_on_the_checkpoints_is_found(tmp_path: Path, key: Key, clock: object) -> None:
    await sound_ledger(tmp_path / "l.db", key, clock)
    finding = verify(tmp_path / "l.db", Key.generate("institute").public)
    assert "checkpoint over 10 records is not valid" in finding.problem


async def test_a_checkpoint_of_another_ledger_is_found(tmp_path: Path, key: Key, clock: object) -> None:
    path = tmp_path / "l.db"
    await sound_ledger(path, key, clock)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'owner'", (b"site/there",))
    db.close()
    assert "does not match" in verify(path, key.public).problem


async def test_a_changed_balance_is_found_by_folding(tmp_path: Path, key: Key, clock: object) -> None:
    path = tmp_path / "l.db"
    await sound_ledger(path, key, clock)
    with sqlite3.connect(path) as db:
        (row,) = db.execute("SELECT row FROM projection").fetchone()
        db.execute("UPDATE projection SET row = ?", (row.replace(b'"available":', b'"available":9'),))
    db.close()
    assert verify(path, key.public).is_sound
    assert "'books' is not what the records fold to" in verify(path, key.public, [Books()]).problem
