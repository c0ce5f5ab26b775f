"""How a run ends at a site: its files are kept, its results judged, and its charge settled, in one record."""

from collections.abc import Mapping
from pathlib import Path

from renkei.catalog import DatasetStore
from renkei.clock import Clock
from renkei.executors import JobEnd
from renkei.ledger import Ledger
from renkei.model.records import Dataset, RunEnded
from renkei.site._offer import Offered, offer_of
from renkei.site._runs import RunRow


class Settlement:
    """Ends runs.

    Args:
        offers: The procedures on offer, by name.
        ledger: Where the records go.
        datasets: Where the files of runs are kept.
        clock: Time.
    """

    def __init__(self, offers: Mapping[str, Offered], ledger: Ledger, datasets: DatasetStore, clock: Clock) -> None:
        self._offers, self._ledger, self._datasets, self._clock = offers, ledger, datasets, clock

    def keep(self, end: JobEnd) -> tuple[JobEnd, tuple[Dataset, ...]]:
        """Keep the files of a run as datasets; a run whose files cannot be kept failed. Call it from a thread."""
        try:
            return end, tuple(self._datasets.put(Path(path), name) for name, path in end.files.items())
        except OSError as error:
            return _useless(end, f"a file of it cannot be kept: {error}"), ()

    def end(self, row: RunRow, end: JobEnd, datasets: tuple[Dataset, ...] = (), *, is_unused: bool = False) -> None:
        """Write down how a run ended, with what it is charged; the rest of what it reserved is free again.

        Args:
            row: The run, accepted or started.
            end: How its job ended.
            datasets: What it left behind.
            is_unused: Whether it never came to its engine, and so costs nothing.
        """
        offer = offer_of(row, self._offers)
        if offer is not None:
            end = offer.judged(end)
        if end.outcome == "succeeded" and offer is not None and (problem := offer.problem(end.outputs)):
            end, datasets = _useless(end, problem), ()
        is_free = is_unused or end.outcome == "lost" or end.fault == "facility"
        is_charged = row.state == "started" and not is_free
        charge = offer.charge(end.seconds, row.micro, row.parameters) if is_charged and offer is not None else 0
        ended = RunEnded(
            run=row.run,
            outcome=end.outcome,
            team=row.team,
            reserved=row.micro,
            charge=charge,
            unit=row.unit,
            queue_s=round(max(0.0, (row.started_at or self._clock.now()) - row.at) + end.queued_s, 6),
            run_s=round(end.seconds, 6),
            outputs=end.outputs,
            datasets=datasets,
            fault=end.fault,
            retryable=end.retryable,
            message=end.message,
            evidence=end.evidence,
        )
        self._ledger.append(ended)


def _useless(end: JobEnd, message: str) -> JobEnd:
    """Return the end of a run that ended well, but whose results cannot be used."""
    return JobEnd(end.run, "failed", end.seconds, {}, {}, "facility", True, message, end.evidence)
