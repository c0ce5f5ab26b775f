"""The books of a site: every record that moves an allocation becomes entries that add up to zero."""

from typing import NamedTuple

import msgspec

from renkei.ledger import Table
from renkei.model.quantity import Quantity
from renkei.model.records import AllocationGranted, Body, RunAccepted, RunEnded


class Entry(NamedTuple):
    """`micro` millionths of `unit` come into (or, negative, leave) the account `name` of `team`.

    Accounts: "granted" (what the site gave away, so its balance is negative), "available", "reserved" and "spent".
    """

    team: str
    name: str
    micro: int
    unit: str


def entries(body: Body) -> tuple[Entry, ...]:
    """Return the entries that a record makes; their sum is zero. Most records make none."""
    if isinstance(body, RunAccepted):
        return (
            Entry(body.team, "available", -body.micro, body.unit),
            Entry(body.team, "reserved", body.micro, body.unit),
        )
    if isinstance(body, RunEnded):
        return (
            Entry(body.team, "reserved", -body.reserved, body.unit),
            Entry(body.team, "spent", body.charge, body.unit),
            Entry(body.team, "available", body.reserved - body.charge, body.unit),
        )
    if isinstance(body, AllocationGranted):
        return (
            Entry(body.team, "granted", -body.micro, body.unit),
            Entry(body.team, "available", body.micro, body.unit),
        )
    return ()


class Balance(msgspec.Struct):
    """Where a team stands in one unit, in millionths; the four always add up to zero."""

    team: str
    unit: str
    granted: int = 0
    available: int = 0
    reserved: int = 0
    spent: int = 0


class Books(Table[Balance]):
    """The projection of every allocation at a site. Rows are keyed "TEAM UNIT"."""

    name = "books"
    bodies = (AllocationGranted, RunAccepted, RunEnded)

    def __init__(self) -> None:
        super().__init__(Balance)

    def available(self, team: str, unit: str) -> Quantity:
        """Return what `team` may still reserve."""
        row = self.rows.get(f"{team} {unit}")
        return Quantity(0 if row is None else row.available, unit)

    def apply(self, seq: int, at: float, body: Body) -> None:
        """See `Projection.apply`."""
        for team, name, micro, unit in entries(body):
            key = f"{team} {unit}"
            row = self.rows.get(key)
            if row is None:
                row = Balance(team, unit)
            setattr(row, name, getattr(row, name) + micro)
            self.put(key, row)
