"""One process at work in a home: it opens sites, drives campaigns over them and answers other commands."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from renkei.campaign import Campaign, Runner, observations_of
from renkei.clock import Clock, SystemClock
from renkei.errors import AgreementError, ConfigError, RenkeiError, UsageError
from renkei.federation import Broker, Description, Offer, Route, SiteHandle
from renkei.home._home import Home, baseline_of
from renkei.home._mailbox import Mailbox
from renkei.model.binding import Binding, check_against
from renkei.model.campaign import Campaign as CampaignFile
from renkei.model.campaign import Source
from renkei.model.procedure import ProcedureSpec
from renkei.model.quantity import MICRO, Quantity
from renkei.model.space import Observation
from renkei.site import Site, open_site
from renkei.trust.keys import Key

REPLICATES = 1
"""How many baseline campaigns are run where a campaign file does not say."""


class Drive:
    """A campaign that is being driven, with the baseline campaigns beside it."""

    def __init__(self, file: CampaignFile, runner: Runner, baselines: Sequence[Runner]) -> None:
        self.file, self.runner, self.baselines = file, runner, baselines
        self.is_done = False


class Session:
    """Sites of a home, opened in this process, and the campaigns that are driven over them.

    Args:
        home: The folder; its lock must be held.
        clock: Time, randomness, blocking calls.
    """

    def __init__(self, home: Home, clock: Clock | None = None) -> None:
        self.home, self.clock = home, clock or SystemClock()
        self.sites: dict[str, Site] = {}
        self.drives: dict[str, Drive] = {}

    @asynccontextmanager
    async def opened(self, names: Sequence[str]) -> AsyncGenerator["Session"]:
        """Serve these sites, and answer other commands, until the end of the block.

        Raises:
            RenkeiError: A site cannot be opened; says which file is wrong and how.
        """
        agreement = self.home.agreement()
        async with AsyncExitStack() as stack:
            for name in names:
                site = open_site(self.home.site(name), agreement, self.clock)
                self.sites[name] = await stack.enter_async_context(site.opened())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Mailbox(self.home, self.clock).serve, self._answer)
                yield self
                tasks.cancel_scope.cancel()

    async def begin(self, file: CampaignFile, folder: Path) -> Drive:
        """Check a new campaign against what the sites offer, keep its definition and make it ready to be driven.

        Raises:
            ConfigError: The campaign does not fit what is on offer; lists every mistake. Nothing was written.
            UsageError: A campaign of this name exists.
        """
        routes = await self._routes(file)
        self.home.begin(file, folder)
        try:
            return await self._drive(file, routes)
        except RenkeiError:  # a planner that is not there, options that it does not know: nothing was recorded yet
            self.home.forget(file.name)
            raise

    async def resume(self, name: str) -> Drive:
        """Take up a campaign that was begun here.

        Raises:
            UsageError: There is no such campaign.
            ConfigError: It no longer fits what is on offer.
        """
        file = self.home.campaign(name).resolved()
        return await self._drive(file, await self._routes(file))

    async def drive(self, drive: Drive, on_change: Callable[[], None] = lambda: None) -> None:
        """Drive a campaign and its baselines to their ends."""
        del on_change
        runners = [drive.runner, *drive.baselines]
        unfinished = [r for r in runners if r.campaign.status.row.state in ("running", "stopped")]
        async with AsyncExitStack() as stack:
            for runner in runners:
                stack.push_async_callback(_close, runner.campaign)
            async with anyio.create_task_group() as tasks:
                for runner in unfinished:
                    tasks.start_soon(runner.run)
        drive.is_done = True

    async def _drive(self, file: CampaignFile, routes: Callable[[], list[Route]]) -> Drive:
        directory = self.home.campaign_directory(file.name)
        key = self._key(file)
        digest = next(iter(self.sites.values())).agreement.digest
        handles: Mapping[str, SiteHandle] = self.sites

        def runner(definition: CampaignFile, where: Path, warm: Sequence[Observation]) -> Runner:
            campaign = Campaign(definition, where, key, digest, self.clock, warm)
            return Runner(campaign, handles, Broker(routes(), self.clock))

        main = runner(file, directory, self._warm(file))
        n_baselines = (file.baseline.replicates or REPLICATES) if file.baseline else 0
        beside = [runner(baseline_of(file, i + 1), directory / f"baseline-{i + 1}", ()) for i in range(n_baselines)]
        drive = self.drives[file.name] = Drive(file, main, beside)
        return drive

    def _key(self, file: CampaignFile) -> Key:
        """Return the key of the first institution of the campaign's team that this home holds the key of."""
        agreement = next(iter(self.sites.values())).agreement
        team = agreement.teams.get(file.team)
        members = team.institutions if team else ()
        for institution in members:
            path = self.home.path / "keys" / f"{institution}.key"
            if path.exists():
                return Key.load(path)
        raise AgreementError(
            f"This home holds no key of an institution of team '{file.team}'.",
            f"The agreement has in that team: {', '.join(members) or 'nobody'}.",
        )

    def _warm(self, file: CampaignFile) -> list[Observation]:
        paths = [Path(w) if "/" in str(w) else self.home.campaign_ledger(str(w)) for w in file.planner.warm]
        return [observation for path in paths for observation in observations_of(path)]

    async def _routes(self, file: CampaignFile) -> Callable[[], list[Route]]:
        """Check a campaign against what sites offer; return what makes its routes, fresh for every runner."""
        mistakes: list[str] = []
        offers: list[tuple[str, Source, ProcedureSpec, Offer, Description]] = []
        descriptions = {name: await site.describe(file.team) for name, site in self.sites.items()}
        specs: dict[str, ProcedureSpec] = {}
        for i, source in enumerate(file.sources, 1):
            for name in source.sites:
                if name not in descriptions:
                    known = ", ".join(sorted(descriptions))
                    mistakes.append(f"source#{i}.sites: found '{name}', expected some of {known}")
            for name, description in descriptions.items():
                if source.sites and name not in source.sites:
                    continue
                for offer in description.offers:
                    spec = ProcedureSpec.from_json(offer.spec)
                    if spec.name != source.procedure or source.version not in (None, spec.version):
                        specs.setdefault(spec.name, spec)
                        continue
                    specs[spec.name] = spec
                    offers.append((name, source, spec, offer, description))
        mistakes += check_against(file, specs)
        if mistakes or not offers:
            raise ConfigError(f"campaign '{file.name}'", mistakes or ["source: no site offers any of its procedures"])
        found: list[tuple[str, ProcedureSpec, Binding, int, int, str, int]] = []
        for name, source, spec, offer, description in offers:
            price = Quantity.of(offer.per_run + offer.per_hour * offer.time_limit_s / 3600, offer.charge_unit)
            available = round(description.available.get(offer.charge_unit, 0.0) * MICRO)
            found.append((name, spec, Binding(file, source, spec), offer.slots, price.micro, price.unit, available))
        return lambda: [Route(*arguments) for arguments in found]

    async def _answer(self, verb: str, arguments: Mapping[str, str]) -> str:
        """Do what another command asks of this process; return one line for people."""
        match verb:
            case "stop":
                drive = self.drives.get(arguments["campaign"])
                if drive is None:
                    raise UsageError(f"Campaign '{arguments['campaign']}' is not running.")
                for runner in [drive.runner, *drive.baselines]:
                    runner.stop(f"stopped by {arguments['by']}")
                return f"Campaign '{arguments['campaign']}' is stopping."
            case "approve" | "deny":
                site = self._site(arguments["site"])
                state = await site.decide(
                    arguments["run"], arguments["by"], verb == "approve", arguments.get("note", "")
                )
                return f"Run {arguments['run']} is {state}."
            case "cancel":
                await self._site(arguments["site"]).cancel_run(arguments["run"], arguments["by"])
                return f"Run {arguments['run']} is being cancelled."
            case _:
                raise UsageError(f"'{verb}' is nothing that can be asked.")

    def _site(self, name: str) -> Site:
        if name not in self.sites:
            raise UsageError(f"Site '{name}' is not open.", f"Open are: {', '.join(self.sites)}.")
        return self.sites[name]


async def _close(campaign: Campaign) -> None:
    with anyio.CancelScope(shield=True):
        await campaign.ledger.close()


def first_error(error: BaseException) -> RenkeiError | None:
    """Return the first error of ours in a group of errors, or None."""
    if isinstance(error, RenkeiError):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if (found := first_error(inner)) is not None:  # pyright: ignore[reportUnknownArgumentType]
                return found
    return None
