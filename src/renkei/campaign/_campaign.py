"""A campaign's own side: its ledger, its planner, what it has found. `ask` and `tell`; the runner adds sites."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import renkei
from renkei.campaign._state import PENDING, RunRow, Status, TrialRow, TrialRuns, Trials
from renkei.clock import Clock
from renkei.errors import UsageError
from renkei.ids import IdMint
from renkei.ledger import Ledger, LedgerReader
from renkei.model.campaign import Campaign as CampaignFile
from renkei.model.quantity import MICRO
from renkei.model.records import (
    Body,
    CampaignEnded,
    CampaignOpened,
    CampaignResumed,
    TrialAbandoned,
    TrialInfeasible,
    TrialObserved,
    TrialProposed,
    read_record,
)
from renkei.model.space import SOURCE, Observation, Point, reached
from renkei.planning import Confirming, Planner, Source, create
from renkei.planning.pareto import Yardstick
from renkei.trust.keys import Key


class Campaign:
    """A closed-loop search and its ledger.

    Opening the ledger of a campaign that exists takes it up where it stands: the planner is told its whole history.
    Methods that write return before the records are durable; `sync` makes them so, and nothing may leave the
    process before.

    Args:
        file: The campaign's definition.
        directory: Where its ledger lives.
        key: Of the institution that the campaign is at home at; signs requests and checkpoints.
        agreement: Digest of the agreement that it works under.
        clock: Time, randomness, blocking calls.
        warm: Observations of earlier campaigns.
        sources: What its planner chooses among, if it does; see `planner_sources`.

    Attributes:
        is_confirming: Whether nothing but a confirmation is left to be proposed.

    Raises:
        LedgerError: The ledger cannot be opened.
        UsageError: The ledger there is of another campaign.
    """

    def __init__(
        self,
        file: CampaignFile,
        directory: Path,
        key: Key,
        agreement: str,
        clock: Clock,
        warm: Sequence[Observation] = (),
        sources: Sequence[Source] = (),
    ) -> None:
        self.file, self.name, self.directory, self.key, self.clock = file, file.name, directory, key, clock
        self.trials, self.runs, self.status = Trials(), TrialRuns(), Status()
        self._counts = {source.name: source.counts for source in sources}
        self._planner: Planner = create(
            file.planner.name,
            file.space,
            file.objectives,
            constraints=file.constraints,
            sources=sources,
            seed=file.seed,
            warm=warm,
            options=file.planner.options,
        )
        self.ledger = Ledger(
            directory / "ledger.db", f"campaign/{file.name}", key, clock, [self.trials, self.runs, self.status]
        )
        self._size_at_opening = self.ledger.size
        self.new_id = IdMint(clock).new
        known = self.status.row
        if self.ledger.size == 0:
            self.ledger.append(
                CampaignOpened(
                    file.name, file.team, key.name, key.public.text, agreement, file.seed, file.text, renkei.__version__
                )
            )
        elif known.text != file.text:
            raise UsageError(
                f"Campaign '{file.name}' exists already and was defined otherwise.",
                "Give the new one another name, or resume the old one with: renkei campaign resume NAME",
            )
        self._charged = {source.label for source in file.sources if source.price is None}
        self._untold = _ended(self.trials.rows.values(), self.runs.rows, self._charged)
        self._may_confirm = bool(self._counts) and isinstance(self._planner, Confirming)
        self._has_confirmed = self.is_confirming = any(row.confirms for row in self.trials.rows.values())

    def take_up(self, *, has_waited: bool = False) -> None:
        """Write down that somebody drives it again; nothing to say of a campaign that was only just opened.

        Args:
            has_waited: Whether it waited for others since it was opened: its time begins only now.
        """
        row = self.status.row
        if self.ledger.size > self._size_at_opening:
            if has_waited:
                self.ledger.append(CampaignResumed(renkei.__version__, row.active_s))
            return
        last = read_record(self.ledger.read(self.ledger.size - 1))
        self.ledger.append(CampaignResumed(renkei.__version__, row.active_s + last.at - row.session_at))

    # ---- ask and tell ----------------------------------------------------------------------------------------

    def question(self, n: int) -> Callable[[], list[Point]]:
        """Return what tells the planner all that it was not told yet and then asks it for up to `n` points.

        Calling that may take seconds and may be done in a thread, one at a time; it raises PlanningError when the
        planner cannot propose a point.
        """
        untold, self._untold = self._untold, []
        pending = [_point(row) for row in self.trials.pending.values()]
        planner, is_last = self._planner, self.is_confirming

        def think() -> list[Point]:
            if untold:
                planner.tell(untold)
            if is_last and isinstance(planner, Confirming):
                return [point] if (point := planner.confirm(pending)) is not None else []
            return planner.ask(n, pending)

        return think

    @property
    def owes_confirmation(self) -> bool:
        """Whether it is still to try, at a source that counts, the point that its planner believes to be best."""
        return self._may_confirm and not self._has_confirmed

    def propose(self, points: Sequence[Point]) -> list[TrialRow]:
        """Write points down as trials."""
        rows: list[TrialRow] = []
        for point in points:
            trial, source = self.new_id(), str(point.get(SOURCE, "")) if self._counts else ""
            parameters = {name: value for name, value in point.items() if name != SOURCE} if source else point
            counts = self._counts.get(source, True)
            self.ledger.append(
                TrialProposed(
                    trial, len(self.trials.rows), parameters, self.file.planner.name, source, counts, self.is_confirming
                )
            )
            rows.append(self.trials.rows[trial])
            self._has_confirmed = self.is_confirming
        return rows

    def observe(self, trial: str, outputs: Mapping[str, float], run: str = "") -> None:
        """Write down what a pending trial gave, in campaign units.

        Raises:
            UsageError: The trial is not pending, or an output is not a finite number.
        """
        for name, value in outputs.items():
            if not math.isfinite(value):
                raise UsageError(f"Output '{name}' is {value}, not a finite number.")
        self._conclude(trial, TrialObserved(trial, run, dict(outputs)))

    def rule_out(self, trial: str, why: str, run: str = "") -> None:
        """Write down that a pending trial's point cannot work.

        Raises:
            UsageError: The trial is not pending.
        """
        self._conclude(trial, TrialInfeasible(trial, run, why))

    def abandon(self, trial: str, why: str) -> None:
        """Write down that nothing can be learned of a pending trial.

        Raises:
            UsageError: The trial is not pending.
        """
        self._conclude(trial, TrialAbandoned(trial, why))

    def _conclude(self, trial: str, fate: Body) -> None:
        if trial not in self.trials.pending:
            row = self.trials.rows.get(trial)
            raise UsageError(f"Trial {trial} is {row.state if row else 'unknown here'}, not pending.")
        self.ledger.append(fate)
        self._untold.append(_observation(self.trials.rows[trial], self.runs.rows, self._charged))

    def end(self, state: str, why: str) -> None:
        """Write down that the campaign is over: reached, exhausted or stopped."""
        self.ledger.append(CampaignEnded(state, why))

    async def sync(self, *, meanwhile: bool = False) -> None:
        """Return when everything so far is durable; see `Ledger.sync`."""
        await self.ledger.sync(meanwhile=meanwhile)

    # ---- what it found ---------------------------------------------------------------------------------------

    def has_reached(self, row: TrialRow) -> bool:
        """Return whether a trial made the discovery that the campaign is after."""
        return (
            row.state == "observed" and row.counts and reached(row.outputs, self.file.objectives, self.file.constraints)
        )

    @property
    def best(self) -> TrialRow | None:
        """The best trial: of those that hold the constraints, the one with the lowest loss in the first objective."""
        return best_of(self.trials.rows.values(), self.file)


def best_of(rows: Iterable[TrialRow], file: CampaignFile) -> TrialRow | None:
    """Return the best observed trial that counts and holds every constraint; see `Yardstick` for several objectives."""
    observed = [row for row in rows if row.state == "observed" and row.counts]
    try:
        yardstick = Yardstick(file.objectives, file.constraints, [row.outputs for row in observed])
    except UsageError:  # several objectives, none with a reach, and nothing feasible yet
        return None
    ranked = [(loss, row.n, row) for row in observed if (loss := yardstick.loss(row.outputs)) is not None]
    return min(ranked, key=lambda each: each[:2])[2] if ranked else None


def observations_of(ledger: Path, sources: Collection[str] = ()) -> list[Observation]:
    """Return what an earlier campaign observed, in the order in which its trials ended.

    Args:
        ledger: Of the earlier campaign.
        sources: Those that the observations are for to choose among. Observations at others are left out, unless they
            count: those name no source.

    Raises:
        LedgerError: There is no readable ledger at this path.
    """
    with LedgerReader(ledger) as reader:
        rows, runs = reader.table("trials", TrialRow), reader.table("runs", RunRow)
    for row in rows.values():
        row.source = row.source if row.source in sources else ""
    return _ended((row for row in rows.values() if row.counts or row.source), runs)


def _ended(rows: Iterable[TrialRow], runs: Mapping[str, RunRow], charged: Collection[str] = ()) -> list[Observation]:
    """Return what became of the trials that are not pending, in the order in which it was written down."""
    ended = sorted((row for row in rows if row.state != PENDING), key=lambda row: row.ended_seq)
    return [_observation(row, runs, charged) for row in ended]


def _observation(row: TrialRow, runs: Mapping[str, RunRow], charged: Collection[str]) -> Observation:
    """Return what a planner is told of an ended trial.

    Args:
        row: The trial.
        runs: All runs.
        charged: The sources whose price is what sites reserve, so that a charge is in the same unit.
    """
    if not row.source:
        return Observation(row.parameters, row.state, row.outputs)
    last = runs.get(row.run)
    seconds = math.nan if last is None else last.queue_s + last.run_s
    cost = math.nan if last is None or row.source not in charged else last.micro / MICRO
    return Observation(_point(row), row.state, row.outputs, seconds=seconds, cost=cost)


def _point(row: TrialRow) -> Point:
    """Return a trial's point as planners know it: with its source, where they chose that."""
    return {**row.parameters, SOURCE: row.source} if row.source else row.parameters
