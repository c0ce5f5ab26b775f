"""A ledger keeps what it acknowledged, in order, and says so when it cannot."""

import sqlite3
from pathlib import Path

import anyio
import pytest

from renkei.accounts import Books
from renkei.clock import SystemClock
from renkei.errors import Conflict, IntegrityBroken, LedgerError
from renkei.ledger import Ledger, LedgerReader, verify
from renkei.ledger.merkle import inclusion_proof, leaf_hash, verify_inclusion
from renkei.model.records import AllocationGranted, CancelAsked
from renkei.trust.keys import Key
from renkei.trust.note import read_checkpoint

pytestmark = pytest.mark.anyio


def grant(n: int) -> AllocationGranted:
    return AllocationGranted("fusion", n, "sample", "test")


def opened(path: Path, key: Key, clock: object, **options: object) -> Ledger:
    return Ledger(path, "site/here", key, clock, [Books()], **options)  # type: ignore[arg-type]


async def test_records_are_read_back_byte_for_byte_after_reopening(tmp_path: Path, key: Key, clock: object) -> None:
    ledger = opened(tmp_path / "l.db", key, clock)
    written = [ledger.append(grant(n)).raw for n in range(5)]
    await ledger.sync()
    await ledger.close()
    again = opened(tmp_path / "l.db", key, clock)
    assert again.read_from(0) == written
    assert again.size == 5
    with LedgerReader(tmp_path / "l.db") as reader:
        assert [(r.seq, r.kind, r.body.micro) for r in reader.records()] == [
            (n, "allocation.granted", n) for n in range(5)
        ]
    await again.close()


async def test_what_was_not_synced_is_not_there_after_a_crash(tmp_path: Path, key: Key, clock: object) -> None:
    ledger = opened(tmp_path / "l.db", key, clock)
    ledger.append(grant(1))
    await ledger.sync()
    ledger.append(grant(2))  # the process dies here: the ledger is never closed
    books = Books()
    again = Ledger(tmp_path / "l.db", "site/here", key, clock, [books])  # type: ignore[arg-type]
    assert again.size == 1
    assert books.available("fusion", "sample").micro == 1


async def test_many_tasks_share_commits(tmp_path: Path, key: Key) -> None:
    ledger = opened(tmp_path / "l.db", key, SystemClock())
    batches: list[int] = []
    ledger.follow(lambda records: batches.append(len(records)))

    async def one(n: int) -> None:
        appended = ledger.append(grant(n))
        await ledger.sync()
        assert ledger.read(appended.seq) == appended.raw

    async with anyio.create_task_group() as tasks:
        for n in range(100):
            tasks.start_soon(one, n)
    assert sum(batches) == 100
    assert len(batches) <= 10
    await ledger.close()


async def test_followers_are_told_only_of_durable_records_in_order(tmp_path: Path, key: Key, clock: object) -> None:
    ledger = opened(tmp_path / "l.db", key, clock)
    told: list[int] = []
    ledger.follow(lambda records: told.extend(r.seq for r in records))
    ledger.append(grant(1))
    assert told == []
    await ledger.sync()
    ledger.append(grant(2))
    ledger.append(grant(3))
    await ledger.sync()
    assert told == [0, 1, 2]
    await ledger.close()


async def test_the_checkpoint_covers_everything_and_proves_each_record(tmp_path: Path, key: Key, clock: object) -> None:
    ledger = opened(tmp_path / "l.db", key, clock)
    raws = [ledger.append(grant(n)).raw for n in range(7)]
    head = read_checkpoint(await ledger.checkpoint(), key.public)
    assert (head.origin, head.size) == ("site/here", 7)
    for i, raw in enumerate(raws):
        proof = inclusion_proof(ledger.leaf_hashes(7), i, 7)
        assert verify_inclusion(leaf_hash(raw), i, 7, proof, head.root)
    await ledger.close()


async def test_a_full_disk_stops_the_ledger_with_one_sentence_and_loses_nothing(
    tmp_path: Path, key: Key, clock: object
) -> None:
    path = tmp_path / "l.db"
    ledger = opened(path, key, clock)
    ledger.append(grant(1))
    await ledger.sync()
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    for n in range(400):
        ledger.append(grant(n))
    with pytest.raises(LedgerError, match="cannot be written: database or disk is full"):
        await ledger.sync()
    with pytest.raises(LedgerError, match="disk is full"):
        ledger.append(grant(1))
    with pytest.raises(LedgerError, match="disk is full"):
        await ledger.failed()
    await ledger.close()
    again = opened(path, key, clock)
    assert again.size == 1
    again.append(grant(2))
    await again.close()
    assert verify(path, key.public, [Books()]).is_sound


async def test_everybody_who_waits_learns_of_a_failed_commit(tmp_path: Path, key: Key) -> None:
    ledger = opened(tmp_path / "l.db", key, SystemClock())
    ledger.append(grant(1))
    await ledger.sync()
    ledger._db.execute(f"PRAGMA max_page_count = {ledger._db.execute('PRAGMA page_count').fetchone()[0]}")
    failures: list[str] = []

    async def one() -> None:
        try:
            for n in range(50):
                ledger.append(grant(n))
            await ledger.sync()
        except LedgerError as error:
            failures.append(error.message)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(one)
    assert len(failures) == 10
    assert all("disk is full" in failure for failure in failures)
    await ledger.close()


async def test_a_second_writer_is_found_out(tmp_path: Path, key: Key, clock: object) -> None:
    first, second = (opened(tmp_path / "l.db", key, clock) for _ in range(2))
    first.append(grant(1))
    await first.sync()
    second.append(grant(2))
    with pytest.raises(Conflict, match="Another process wrote"):
        await second.sync()
    await first.close()


async def test_another_owners_ledger_is_refused(tmp_path: Path, key: Key, clock: object) -> None:
    await opened(tmp_path / "l.db", key, clock).close()
    with pytest.raises(LedgerError, match="is the ledger of site/here, not of site/there"):
        Ledger(tmp_path / "l.db", "site/there", key, clock)  # type: ignore[arg-type]


async def test_a_newer_version_is_refused_and_left_alone(tmp_path: Path, key: Key, clock: object) -> None:
    path = tmp_path / "l.db"
    await opened(path, key, clock).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="newer renkei"):
        opened(path, key, clock)
    with pytest.raises(LedgerError, match="newer renkei"):
        LedgerReader(path)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, key: Key, clock: object) -> None:
    path = tmp_path / "l.db"
    path.write_text("hello, this is not a database at all" * 100)
    with pytest.raises(LedgerError, match="cannot be"):
        opened(path, key, clock)
    other = tmp_path / "o.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(LedgerError, match="is not a renkei ledger"):
        LedgerReader(other)


async def test_a_ledger_whose_tree_does_not_fit_is_not_opened(tmp_path: Path, key: Key, clock: object) -> None:
    path = tmp_path / "l.db"
    ledger = opened(path, key, clock)
    ledger.append(grant(1))
    await ledger.close()
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM record")
    db.close()
    with pytest.raises(IntegrityBroken, match="holds 0 records but its tree counts 1"):
        opened(path, key, clock)


async def test_records_that_no_projection_cares_for_are_kept_too(tmp_path: Path, key: Key, clock: object) -> None:
    ledger = opened(tmp_path / "l.db", key, clock)
    ledger.append(CancelAsked("run", "somebody"))
    await ledger.close()
    assert verify(tmp_path / "l.db", key.public, [Books()]).records == 1


async def test_a_relaxed_ledger_waits_for_no_disk_and_keeps_what_it_was_given(
    tmp_path: Path, key: Key, clock: object
) -> None:
    ledger = opened(tmp_path / "l.db", key, clock)
    ledger.relax()
    written: list[bytes] = []
    for n in range(3):
        written.append(ledger.append(grant(n)).raw)
        await ledger.sync()
    assert not (tmp_path / "l.db-wal").exists()
    await ledger.close()
    again = opened(tmp_path / "l.db", key, clock)
    assert again.read_from(0) == written
    await again.close()
    assert verify(tmp_path / "l.db", key.public, [Books()]).is_sound
