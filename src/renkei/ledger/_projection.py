"""Projections: state computed by folding records, kept in tables beside them."""

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from renkei.model.records import Body

Row = TypeVar("Row", bound=msgspec.Struct)
Change = tuple[str, bytes | None]
"""A key and its row as JSON, or None where the row is gone."""


class Projection(Protocol):
    """State folded from records, rebuildable from nothing but the ledger.

    `apply` must depend on nothing but the records so far. A ledger calls it once a record, in order, in the event
    loop's thread, and saves what `changes` gives in the same transaction as the records.
    """

    @property
    def name(self) -> str:
        """What its table is called."""
        ...

    @property
    def bodies(self) -> tuple[type[Body], ...]:
        """The bodies that it is folded from; of all others it is told nothing."""
        ...

    def apply(self, seq: int, at: float, body: Body) -> None:
        """Fold one record in."""
        ...

    def changes(self) -> Iterable[Change]:
        """Return the rows changed since the last call."""
        ...

    def load(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Take up saved rows, at opening."""
        ...


class Table(Generic[Row]):
    """Rows of one struct type by key: the usual base of a projection."""

    name: str
    bodies: tuple[type[Body], ...]

    def __init__(self, row_type: type[Row]) -> None:
        self.rows: dict[str, Row] = {}
        self._changed: dict[str, None] = {}
        self._read = msgspec.json.Decoder(row_type).decode

    def put(self, key: str, row: Row) -> None:
        """Set a row, or say that the row there was changed in place."""
        self.rows[key] = row
        self._changed[key] = None

    def changes(self) -> Iterator[Change]:
        """See `Projection.changes`."""
        changed, self._changed = self._changed, {}
        encode, rows = msgspec.json.encode, self.rows
        return ((key, encode(rows[key]) if key in rows else None) for key in changed)

    def load(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """See `Projection.load`."""
        self.rows = {key: self._read(row) for key, row in rows}
