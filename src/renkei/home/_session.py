"""One process at work in a home: it opens sites, drives campaigns over them and answers other commands."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from renkei.campaign import (
    Campaign,
    Runner,
    RunRow,
    descriptions_of,
    descriptions_to_resume,
    observations_of,
    planner_sources,
    routes_over,
)
from renkei.campaign._state import OPEN
from renkei.clock import Clock, SystemClock
from renkei.errors import AgreementError, LedgerError, RenkeiError, Unreachable, UsageError
from renkei.federation import Description, Route, SiteHandle
from renkei.home._answers import answer_at
from renkei.home._home import Home, baseline_folder, baseline_of, site_of_baseline
from renkei.home._mailbox import Mailbox
from renkei.ledger import LedgerReader
from renkei.ledger.merkle import HASH_BYTES
from renkei.model.agreement import Agreement
from renkei.model.campaign import Campaign as CampaignFile
from renkei.model.records import CheckpointSeen, read_record
from renkei.model.space import Observation
from renkei.site import Site, open_site
from renkei.trust.keys import Key
from renkei.trust.note import parse_checkpoint

if TYPE_CHECKING:
    from renkei.federation.http import HttpSite


class Drive:
    """A campaign that is being driven, with its baseline campaigns."""

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
        self.remote: dict[str, HttpSite] = {}
        self.drives: dict[str, Drive] = {}
        self.silent: list[str] = []
        """What kept sites that did not answer from taking part."""

    @asynccontextmanager
    async def opened(self, names: Sequence[str], team: str = "") -> AsyncGenerator["Session"]:
        """Serve the sites of these that lie here, reach the others, and answer other commands, until the end.

        Args:
            names: The sites' names.
            team: Whose runs the sites elsewhere are asked for.

        Raises:
            RenkeiError: A site cannot be opened; says which file is wrong and how.
        """
        agreement = self.home.agreement()
        here = self.home.sites()
        async with AsyncExitStack() as stack:
            for name in names:
                if name in here:
                    path = self.home.agreement_path
                    site = open_site(self.home.site(name), agreement, self.clock, agreement_path=path)
                    self.sites[name] = await stack.enter_async_context(site.opened())
                    continue
                host = agreement.institutions[agreement.institution_of_site(name)]
                url = agreement.sites[name].url
                if url is None:
                    raise UsageError(f"The agreement does not say where site '{name}' is reached.")
                from renkei.federation.http import HttpSite  # httpx is wanted here alone

                remote = HttpSite(name, url, self._key(agreement, team), host.key, self.clock)
                self.remote[name] = await stack.enter_async_context(remote.opened())
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
        found = await self._descriptions(file)
        routes_over(file, found, self._handles())
        self.home.begin(file, folder)
        try:
            return await self._drive(file, found)
        except RenkeiError:  # a planner that is not there, options that it does not know: nothing was recorded yet
            self.home.forget(file.name)
            raise

    async def resume(self, name: str, on_silence: Callable[[Unreachable], None] = lambda _: None) -> Drive:
        """Take up a campaign that was begun here, as soon as its procedures and those of its open runs are on offer.

        Args:
            name: The campaign.
            on_silence: Told of sites that have to be waited for, each time that they do not answer.

        Raises:
            UsageError: There is no such campaign.
            ConfigError: It no longer fits what is on offer.
        """
        file = self.home.campaign(name).resolved()
        wanted = {source.procedure for source in file.sources} | self._open_procedures(file.name)
        found, silent = await descriptions_to_resume(file, wanted, self._handles(), self.clock, on_silence)
        self.silent = [error.message for error in silent]
        return await self._drive(file, found)

    def _open_procedures(self, campaign: str) -> set[str]:
        """Return the procedures of the runs of a campaign and of its baselines that have not ended."""
        found: set[str] = set()
        place = self.home.campaign_directory(campaign)
        for path in (*place.glob("ledger.db"), *place.glob("*/ledger.db")):
            try:
                with LedgerReader(path) as reader:
                    found |= {row.procedure for row in reader.table("runs", RunRow).values() if row.state in OPEN}
            except LedgerError:  # was being made when its process died; else whoever opens it says what is wrong
                continue
        return found

    async def drive(self, drive: Drive, on_change: Callable[[], None] = lambda: None) -> None:
        """Drive a campaign and its baselines to their ends.

        Baselines that come after it begin when it has ended. Then they are driven one after another, those at different
        single sites side by side, so that each has its sites to itself and its hours are its own.
        """
        del on_change
        runners = [drive.runner, *drive.baselines]
        unfinished = [r for r in runners if r.campaign.status.row.state in ("running", "stopped")]
        is_after = drive.file.baseline is not None and drive.file.baseline.when == "after"
        async with AsyncExitStack() as stack:
            for runner in runners:
                stack.push_async_callback(_close, runner.campaign)
            async with anyio.create_task_group() as tasks:
                if is_after:
                    tasks.start_soon(_drive_in_turn, drive.runner, unfinished, tasks)
                else:
                    for runner in unfinished:
                        tasks.start_soon(runner.run)
            await self._fetch_witnesses(drive.file.name, runners)
        drive.is_done = True

    async def _fetch_witnesses(self, campaign: str, runners: Sequence[Runner]) -> None:
        """Keep the leaf hashes of sites elsewhere: what proves offline that their records are what they signed.

        Those that are here already are left alone. Others are missing where a site was silent at the campaign's end, or
        where the process was killed just then.
        """
        sizes: dict[str, int] = {}
        for runner in runners:
            for name, size in (await self._seen_by(runner)).items():
                sizes[name] = max(sizes.get(name, 0), size)
        for name, site in self.remote.items():
            path = self.home.witness(campaign, name)
            if name in sizes and not (path.is_file() and path.stat().st_size >= HASH_BYTES * sizes[name]):
                try:
                    leaves = await site.leaves(sizes[name])
                except RenkeiError:
                    continue  # the audit says that it is not there
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(leaves)

    async def _seen_by(self, runner: Runner) -> dict[str, int]:
        """Return how many records of each site the checkpoints cover that a campaign saw.

        Of sites elsewhere that told it more than that, it asks for another checkpoint: they were silent at its end.
        """
        ledger = runner.campaign.ledger
        seen: Counter[str] = Counter()
        heard: Counter[str] = Counter()
        for raw in ledger.read_from(0):
            if b'"kind":"checkpoint.seen"' in raw[:100]:
                body = read_record(raw).body
                seen[body.site] = max(seen[body.site], parse_checkpoint(body.note).size)
            elif b'"kind":"run.reported"' in raw[:100]:
                body = read_record(raw).body
                heard[body.site] = max(heard[body.site], read_record(body.record).seq + 1)
        for name in sorted(self.remote.keys() & heard.keys()):
            if heard[name] > seen[name]:
                try:
                    note = await self.remote[name].checkpoint()
                except RenkeiError:
                    continue  # the audit says that nothing covers what it told
                ledger.append(CheckpointSeen(name, note))
                await ledger.sync()
                seen[name] = parse_checkpoint(note).size
        return seen

    async def _drive(self, file: CampaignFile, found: Mapping[str, Description]) -> Drive:
        directory = self.home.campaign_directory(file.name)
        agreement = self.home.agreement()
        key, digest, handles = self._key(agreement, file.team), agreement.digest, self._handles()

        def runner(definition: CampaignFile, where: Path, warm: Sequence[Observation], site: str = "") -> Runner:
            sites = {site: handles[site]} if site else handles
            offers = {name: description for name, description in found.items() if name in sites}
            sources = planner_sources(definition, routes_over(definition, offers, sites))
            campaign = Campaign(definition, where, key, digest, self.clock, warm, sources)
            return Runner(campaign, sites, offers)

        main = runner(file, directory, self._warm(file))
        beside: list[Runner] = []
        if (baseline := file.baseline) is not None:
            sites = _single_sites(main.routes.broker.routes) if baseline.sites == "single" else {"": frozenset[str]()}
            for i in range(1, baseline.n_replicates + 1):
                for site, offered in sites.items():
                    definition = baseline_of(file, i, site, offered)
                    where = directory / baseline_folder(i, site)
                    beside.append(runner(definition, where, self._warm(definition), site))
        drive = self.drives[file.name] = Drive(file, main, beside)
        return drive

    def _handles(self) -> Mapping[str, SiteHandle]:
        return {**self.sites, **self.remote}

    def _key(self, agreement: Agreement, team: str) -> Key:
        """Return the key of the first institution of a team that this home holds the key of."""
        members = agreement.teams[team].institutions if team in agreement.teams else ()
        for institution in members:
            path = self.home.path / "keys" / f"{institution}.key"
            if path.exists():
                return Key.load(path)
        raise AgreementError(
            f"This home holds no key of an institution of team '{team}'.",
            f"The agreement has in that team: {', '.join(members) or 'nobody'}.",
        )

    def _warm(self, file: CampaignFile) -> list[Observation]:
        paths = [Path(w) if "/" in str(w) else self.home.campaign_ledger(str(w)) for w in file.planner.warm]
        sources = {source.label for source in file.sources} if file.chooses else ()
        return [observation for path in paths for observation in observations_of(path, sources)]

    async def _descriptions(self, file: CampaignFile) -> dict[str, Description]:
        """Return what sites offer; one that does not answer is left out, unless it is the only one.

        Raises:
            Unreachable: No site answers.
        """
        found, silent = await descriptions_of(self._handles(), lambda site: site.describe(file.team))
        if silent and not found:
            raise silent[0]
        self.silent = [error.message for error in silent]
        return found

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
            case "approve" | "deny" | "cancel":
                return await answer_at(self._site(arguments["site"]), verb, arguments)
            case _:
                raise UsageError(f"'{verb}' is nothing that can be asked.")

    def _site(self, name: str) -> Site:
        if name not in self.sites:
            raise UsageError(f"Site '{name}' is not open.", f"Open are: {', '.join(self.sites)}.")
        return self.sites[name]


def _single_sites(routes: Sequence[Route]) -> dict[str, frozenset[str]]:
    """Return the sites that could do the campaign alone, in order, with the sources that each of them offers."""
    names = sorted({route.site for route in routes if route.counts})
    return {name: frozenset(route.source for route in routes if route.site == name) for name in names}


async def _drive_in_turn(main: Runner, unfinished: Sequence[Runner], tasks: TaskGroup) -> None:
    """Drive the campaign, then its baselines: in a row, those of each single site in a row of their own."""
    if main in unfinished:
        await main.run()
    rows: dict[str, list[Runner]] = {}
    for runner in unfinished:
        if runner is not main:
            rows.setdefault(site_of_baseline(runner.campaign.directory.name), []).append(runner)
    for row in rows.values():
        tasks.start_soon(_drive_row, row)


async def _drive_row(runners: Sequence[Runner]) -> None:
    for runner in runners:
        runner.campaign.take_up(has_waited=True)
        await runner.run()


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
