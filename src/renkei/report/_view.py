"""Everything that a reader wants to know about one campaign, read from ledger files and never from a live process."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from renkei.accounts import Balance
from renkei.campaign import StatusRow, TrialRow
from renkei.errors import RenkeiError
from renkei.home._home import Home
from renkei.ledger import LedgerReader
from renkei.model.agreement import Agreement
from renkei.model.campaign import Campaign
from renkei.model.quantity import Quantity
from renkei.model.records import Dataset
from renkei.planning.pareto import Yardstick
from renkei.report._history import History, Run, read_history


@dataclass(frozen=True, slots=True)
class SiteView:
    """What one site did for a campaign and its baselines.

    Args:
        name: The site's name.
        institution: The id of the institution that runs it; empty when the agreement does not say.
        ledger: Its ledger file; None when it is not in this home.
        runs: The campaign's runs there, in the order of their request.
        baseline_runs: Those of the baseline campaigns.
        balances: Where the campaign's team stands there, one for each unit.
        problem: Why its books could not be read; empty when they were, or when the site is elsewhere.
        witness: Of a site elsewhere: the leaf hashes of its ledger, as the campaign fetched them at its end.
    """

    name: str
    institution: str
    ledger: Path | None
    runs: tuple[Run, ...]
    baseline_runs: tuple[Run, ...]
    balances: tuple[Balance, ...]
    problem: str = ""
    witness: Path | None = None

    @property
    def outcomes(self) -> Counter[str]:
        """How many of the campaign's runs are in which state."""
        return Counter(run.row.state for run in self.runs)

    @property
    def work_s(self) -> float:
        """Seconds for which the campaign's runs worked."""
        return sum(run.row.run_s for run in self.runs)

    @property
    def charges(self) -> list[Quantity]:
        """What the campaign was charged, one quantity for each unit."""
        return _sum(self.runs)

    @property
    def baseline_charges(self) -> list[Quantity]:
        """What its baselines were charged, one quantity for each unit."""
        return _sum(self.baseline_runs)


@dataclass(frozen=True, slots=True)
class CampaignView:
    """One campaign, its baselines and the sites that it used.

    Args:
        directory: Where the campaign lives.
        definition: What it is.
        agreement: What it works under; None when it is not in force.
        agreement_path: Where the agreement lies.
        agreement_problem: Why it is not in force; empty when it is.
        history: The campaign itself.
        baselines: Its baseline campaigns.
        sites: The sites that it or a baseline asked for a run, in the order in which they were asked first.
        yardstick: Measures how good a trial is; None when several objectives cannot be measured in one number.
        is_attended: Whether some process works in the home, as far as can be told.
    """

    directory: Path
    definition: Campaign
    agreement: Agreement | None
    agreement_path: Path
    agreement_problem: str
    history: History
    baselines: tuple[History, ...]
    sites: tuple[SiteView, ...]
    yardstick: Yardstick | None
    is_attended: bool = False

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.definition.name

    @property
    def status(self) -> StatusRow:
        """The campaign as a whole."""
        return self.history.status

    @property
    def campaign_ledgers(self) -> list[tuple[str, Path]]:
        """The ledgers of the campaign and its baselines, each with the owner that it must be of."""
        beside = [(f"campaign/{self.name}.{each.path.parent.name}", each.path) for each in self.baselines]
        return [(f"campaign/{self.name}", self.history.path), *beside]

    @property
    def state(self) -> str:
        """Its state in one word: running, reached, exhausted, stopped, or interrupted when nobody drives it on."""
        return "interrupted" if self.status.state == "running" and not self.is_attended else self.status.state

    @property
    def trials(self) -> tuple[TrialRow, ...]:
        """The campaign's trials, in the order of their proposal."""
        return self.history.trials

    @property
    def runs(self) -> Mapping[str, Run]:
        """The campaign's runs by id."""
        return self.history.runs

    @property
    def best(self) -> TrialRow | None:
        """The observed trial with the lowest loss, the earliest of equals; None when none holds every constraint."""
        best = min(self.trials, key=self.rank, default=None)
        return best if best is not None and self.loss(best) is not None else None

    @property
    def datasets(self) -> list[tuple[Run, Dataset]]:
        """What the campaign's runs left behind."""
        return [(run, dataset) for run in self.runs.values() if run.ended for dataset in run.ended.datasets]

    def loss(self, row: TrialRow) -> float | None:
        """Return how good a trial is, lower is better.

        None when it has no outputs, breaks a constraint, or was run at a source that does not count.
        """
        if self.yardstick is None or row.state != "observed" or not row.counts:
            return None
        return self.yardstick.loss(row.outputs)

    def rank(self, row: TrialRow) -> tuple[bool, float]:
        """Return what sorts trials: the best first, those without a loss last."""
        loss = self.loss(row)
        return loss is None, loss or 0.0

    def title_of(self, institution: str) -> str:
        """Return an institution's name for people."""
        found = self.agreement.institutions.get(institution) if self.agreement else None
        return found.name if found else institution


def view_campaign(home: Home, name: str) -> CampaignView:
    """Return everything about a campaign of a home, running or not.

    Raises:
        UsageError: There is no such campaign.
        ConfigError: Its file has mistakes.
        LedgerError: Its ledger, or a baseline's, cannot be read.
    """
    definition = home.campaign(name).resolved()
    directory = home.campaign_directory(name)
    history = read_history(home.campaign_ledger(name))
    baselines = tuple(read_history(path) for path in _baseline_ledgers(directory))
    agreement, problem = _agreement(home)
    every = [run for each in (history, *baselines) for run in each.runs.values()]
    names = dict.fromkeys(run.row.site for run in sorted(every, key=lambda run: run.row.at))
    sites = tuple(_site(home, agreement, history, baselines, site) for site in names)
    return CampaignView(
        directory,
        definition,
        agreement,
        home.agreement_path,
        problem,
        history,
        baselines,
        sites,
        _yardstick(definition, history, baselines),
        home.worker() is not None,
    )


def _baseline_ledgers(directory: Path) -> list[Path]:
    found = directory.glob("baseline-*/ledger.db")
    return sorted(found, key=lambda path: (len(path.parent.name), path.parent.name))


def _agreement(home: Home) -> tuple[Agreement | None, str]:
    try:
        return home.agreement(), ""
    except RenkeiError as error:
        return None, error.message


def _site(
    home: Home, agreement: Agreement | None, history: History, baselines: Iterable[History], name: str
) -> SiteView:
    institution = agreement.sites[name].institution if agreement and name in agreement.sites else ""
    runs = tuple(run for run in history.runs.values() if run.row.site == name)
    beside = tuple(run for each in baselines for run in each.runs.values() if run.row.site == name)
    path: Path | None = None
    witness = home.witness(history.status.campaign, name)
    if witness.is_file() and name not in home.sites():
        return SiteView(name, institution, None, runs, beside, (), "", witness)
    try:
        path = home.site_ledger(name)
        with LedgerReader(path) as ledger:
            table = ledger.table("books", Balance).values()
        balances = tuple(row for row in table if row.team == history.status.team)
    except (RenkeiError, sqlite3.Error, msgspec.DecodeError) as error:
        there = path if path is not None and path.is_file() else None
        return SiteView(name, institution, there, runs, beside, (), str(error))
    return SiteView(name, institution, path, runs, beside, balances)


def _yardstick(definition: Campaign, history: History, baselines: Iterable[History]) -> Yardstick | None:
    """Return what measures trials; several objectives are scaled by the baselines' trials, else by the campaign's."""
    outputs = [row.outputs for each in baselines for row in each.trials if row.state == "observed" and row.counts]
    outputs = outputs or [row.outputs for row in history.trials if row.state == "observed" and row.counts]
    try:
        return Yardstick(definition.objectives, definition.constraints, outputs)
    except RenkeiError:  # several objectives without a reach, and no trial yet
        return None


def _sum(runs: Iterable[Run]) -> list[Quantity]:
    total: Counter[str] = Counter()
    for run in runs:
        if run.row.unit:
            total[run.row.unit] += run.charge.micro
    return [Quantity(micro, unit) for unit, micro in sorted(total.items())]
