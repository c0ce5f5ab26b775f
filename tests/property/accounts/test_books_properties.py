"""Books add up, whatever happens, in whatever order and at whatever time a site is asked."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from renkei.accounts import Books, entries
from renkei.model.quantity import Quantity
from renkei.model.records import AllocationGranted, Body, RunAccepted, RunEnded

teams = st.sampled_from(["fusion", "quantum"])
units = st.sampled_from(["sample", "node-hour"])
micros = st.integers(0, 10**9)


def accepted(run: str, team: str, micro: int, unit: str) -> RunAccepted:
    return RunAccepted(run, "", 0, "i", team, "c", "t", "p", "1", {}, micro, unit, 0.0)


def ended(run: str, team: str, reserved: int, charge: int, unit: str) -> RunEnded:
    return RunEnded(run, "succeeded", team, reserved, charge, unit)


bodies = st.one_of(
    st.builds(AllocationGranted, teams, micros, units, st.just("t")),
    st.builds(accepted, st.text(max_size=3), teams, micros, units),
    st.builds(ended, st.text(max_size=3), teams, micros, micros, units),
)


@given(bodies)
def test_the_entries_of_every_record_add_up_to_zero(body: Body) -> None:
    assert sum(entry.micro for entry in entries(body)) == 0


@given(st.lists(bodies, max_size=30))
def test_folding_saved_rows_goes_on_where_folding_records_stood(history: list[Body]) -> None:
    live, saved = Books(), Books()
    for body in history[: len(history) // 2]:
        live.apply(0, 0.0, body)
    saved.load([(key, row) for key, row in live.changes() if row is not None])
    for body in history[len(history) // 2 :]:
        live.apply(0, 0.0, body)
        saved.apply(0, 0.0, body)
    assert {k: msgspec.to_builtins(r) for k, r in live.rows.items()} == {
        k: msgspec.to_builtins(r) for k, r in saved.rows.items()
    }


class Reservations(RuleBasedStateMachine):
    """Runs come, are accepted only when they can be paid, and end in any order with any charge up to what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.open: dict[str, RunAccepted] = {}
        self.spent = 0
        self.granted = 0
        self.n = 0

    @initialize(micro=micros)
    def grant(self, micro: int) -> None:
        self.books.apply(0, 0.0, AllocationGranted("fusion", micro, "sample", "t"))
        self.granted += micro

    @rule(micro=st.integers(0, 10**8))
    def ask(self, micro: int) -> None:
        if self.books.available("fusion", "sample").micro >= micro:
            self.n += 1
            run = self.open[str(self.n)] = accepted(str(self.n), "fusion", micro, "sample")
            self.books.apply(0, 0.0, run)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        run = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        charge = data.draw(st.integers(0, run.micro))
        self.books.apply(0, 0.0, ended(run.run, run.team, run.micro, charge, run.unit))
        self.spent += charge

    @invariant()
    def nothing_is_overspent_and_everything_adds_up(self) -> None:
        row = self.books.rows.get("fusion sample")
        if row is None:
            return
        assert row.granted + row.available + row.reserved + row.spent == 0
        assert row.available >= 0
        assert row.reserved == sum(run.micro for run in self.open.values())
        assert row.spent == self.spent <= self.granted == -row.granted


TestReservations = Reservations.TestCase


@given(st.floats(0, 1e9), units)
def test_a_charge_is_never_rounded_away_and_never_by_more_than_a_millionth(value: float, unit: str) -> None:
    micro = Quantity.of(value, unit).micro
    assert micro >= Decimal(repr(value)) * 1_000_000 > micro - 1


@given(st.integers(0, 10**15), units)
def test_quantities_survive_writing_and_reading(micro: int, unit: str) -> None:
    assert Quantity.parse(str(Quantity(micro, unit))) == Quantity(micro, unit)
