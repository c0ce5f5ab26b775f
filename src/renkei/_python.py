"""The Python face: run a campaign file, or ask and tell by hand, from ordinary code without async."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio

from renkei.campaign import Campaign as OpenCampaign
from renkei.campaign import TrialRow, planner_sources
from renkei.clock import SystemClock
from renkei.errors import UsageError, did_you_mean
from renkei.home._check import check_embedded
from renkei.home._home import LOCAL_PARTY, Home
from renkei.home._session import Session, first_error
from renkei.model.campaign_file import load_campaign
from renkei.report import summarize

DEFAULT_HOME = Path(".renkei")


def run(file: str | Path, *, home: str | Path = DEFAULT_HOME) -> dict[str, Any]:
    """Run a campaign file to its end, or go on with it where it stopped, and return its summary.

    Args:
        file: The campaign.toml.
        home: The folder of sites and campaigns.

    Returns:
        What `renkei campaign run --json` prints.

    Raises:
        RenkeiError: What is wrong, and what to do about it.
    """
    place, path = Home(Path(home)), Path(file)
    campaign = load_campaign(path)
    if campaign.sites and not place.has_campaign(campaign.name):
        check_embedded(campaign, place.path)

    async def drive() -> None:
        session = Session(place)
        async with session.opened(list(campaign.sites) or place.sites()):
            known = place.has_campaign(campaign.name)
            await session.drive(
                await (session.resume(campaign.name) if known else session.begin(campaign, path.absolute().parent))
            )

    with place.locked():
        if campaign.sites:
            place.embed(campaign.sites, campaign.team)
        try:
            anyio.run(drive)
        except BaseExceptionGroup as group:
            raise first_error(group) or group from group
    return summarize(place, campaign.name)


class AskTell:
    """A campaign whose trials you run yourself: ask for points, tell what came of them.

    Everything is kept in the campaign's ledger, so that opening it again goes on where it stopped. Use it as a context
    manager; one process at a time may have it open.

    Args:
        file: The campaign.toml; it needs no [[source]].
        home: The folder of sites and campaigns.

    Raises:
        RenkeiError: What is wrong, and what to do about it.
    """

    def __init__(self, file: str | Path, *, home: str | Path = DEFAULT_HOME) -> None:
        self._home, self._path = Home(Path(home)), Path(file)
        self._definition = load_campaign(self._path)
        self._open: OpenCampaign | None = None

    def __enter__(self) -> "AskTell":
        self._lock = self._home.locked()
        self._lock.__enter__()
        try:
            name = self._definition.name
            if not self._home.has_campaign(name):
                self._home.begin(self._definition, self._path.absolute().parent)
            key = self._home.key(LOCAL_PARTY)
            directory = self._home.campaign_directory(name)
            sources = planner_sources(self._definition)
            self._open = OpenCampaign(self._definition, directory, key, "", SystemClock(), sources=sources)
            self._open.take_up()
            anyio.run(self._open.sync)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            anyio.run(self._campaign.ledger.close)
        finally:
            self._open = None
            self._lock.__exit__(None, None, None)

    def ask(self, n: int = 1) -> list[TrialRow]:
        """Return up to `n` trials to run: first those asked for before and not told about; none when none are left.

        Raises:
            PlanningError: The planner cannot propose a point.
        """
        pending = list(self._campaign.trials.pending.values())
        if len(pending) < n:
            pending += self._campaign.propose(self._campaign.question(n - len(pending))())
        anyio.run(self._campaign.sync)
        return pending[:n]

    def tell(self, trial: str | TrialRow, outputs: Mapping[str, float] | None, why: str = "") -> None:
        """Say what came of a trial.

        Args:
            trial: The trial or its id.
            outputs: In campaign units; None when the point cannot work.
            why: Why it cannot.

        Raises:
            UsageError: The trial is not one that was asked for, or an output of the campaign is missing.
        """
        name = trial if isinstance(trial, str) else trial.trial
        if name not in self._campaign.trials.pending:
            raise UsageError(
                f"Trial {name} is not waiting to be told about.", "Tell each trial that you asked for once."
            )
        if outputs is None:
            self._campaign.rule_out(name, why or "it cannot work")
        else:
            file = self._definition
            wanted = [goal.output for goal in (*file.objectives, *file.constraints)]
            for output in wanted:
                if output not in outputs:
                    raise UsageError(
                        f"Output '{output}' is missing.{did_you_mean(output, outputs)}", f"Tell {', '.join(wanted)}."
                    )
            self._campaign.observe(name, {output: float(value) for output, value in outputs.items()})
        anyio.run(self._campaign.sync)

    @property
    def best(self) -> TrialRow | None:
        """The best trial so far that holds every constraint."""
        return self._campaign.best

    @property
    def trials(self) -> list[TrialRow]:
        """Every trial, in the order of proposal."""
        return list(self._campaign.trials.rows.values())

    @property
    def _campaign(self) -> OpenCampaign:
        if self._open is None:
            raise UsageError("The campaign is not open.", "Use it in a 'with' block.")
        return self._open
