"""Whether a site's engine runs jobs, and when it did not: folded from the site's records."""

import msgspec

from renkei.ledger import Table
from renkei.model.records import BackendChanged, Body


class BackendRow(msgspec.Struct, array_like=True):
    """One change: the record's number, when it was seen, and what was wrong then; nothing where all was well."""

    seq: int
    at: float
    is_up: bool
    problems: tuple[str, ...] = ()


class Backend(Table[BackendRow]):
    """The projection of every change of the engine's state, by the number of its record."""

    name = "backend"
    bodies = (BackendChanged,)

    def __init__(self) -> None:
        super().__init__(BackendRow)

    @property
    def changes_seen(self) -> list[BackendRow]:
        """Every change, oldest first."""
        return sorted(self.rows.values(), key=lambda row: row.seq)

    @property
    def last(self) -> BackendRow | None:
        """The last change; None where nobody has looked yet."""
        return max(self.rows.values(), key=lambda row: row.seq, default=None)

    @property
    def is_up(self) -> bool | None:
        """Whether jobs ran when it was last looked at; None where nobody has looked yet."""
        return None if self.last is None else self.last.is_up

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        if isinstance(body, BackendChanged):
            self.put(str(seq), BackendRow(seq, at, body.is_up, body.problems))
