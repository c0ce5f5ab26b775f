"""Copies of ledger files that are whole, whoever is writing to them meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

from renkei.errors import LedgerError


def copy_ledger(source: Path, target: Path) -> None:
    """Copy a ledger, its write-ahead log included, as it stands at one moment, into a single new file.

    Args:
        source: The ledger file; another process may be writing to it.
        target: Where the copy goes; must not be there yet.

    Raises:
        LedgerError: There is no such file, or it cannot be read as a database.
    """
    if not source.is_file():
        raise LedgerError(f"There is no ledger at {source}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # so that the copy is one file and stays one
    except sqlite3.Error as error:
        raise LedgerError(f"{source} cannot be copied: {error}.") from error
