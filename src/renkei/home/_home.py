"""The folder that a user's campaigns and embedded sites live in.

::

    HOME/
      lock                      the id of the process that works here
      agreement.toml, .sig      who belongs; made and signed for embedded sites
      keys/NAME.key             secret keys, mode 600
      sites/NAME.toml           what a site offers; made for sites that a campaign file embeds
      sites/NAME/               its ledger, datasets and run directories
      campaigns/NAME/           campaign.toml, its ledger, report and crate
      requests/                 what other commands ask of the process that works here
"""

import fcntl
import os
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from renkei.errors import AgreementError, ConfigError, Conflict, UsageError, did_you_mean
from renkei.home._toml import site_text
from renkei.model.agreement import (
    Agreement,
    AgreementSite,
    Institution,
    Party,
    Team,
    load_agreement,
    parse_agreement,
)
from renkei.model.agreement_text import OPEN_RESEARCH, new_agreement_text
from renkei.model.campaign import Campaign, LocalSite
from renkei.model.campaign_file import parse_campaign
from renkei.model.site_file import AllocationFile, SiteFile, load_site
from renkei.trust.endorsement import endorse, require_signed, signatures_path, unsigned_parties
from renkei.trust.keys import Key

LOCAL_PARTY = "local"
"""The party of the agreement that embedded sites of one user work under."""


class Home:
    """A folder with embedded sites and campaigns. Nothing is made before it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def agreement_path(self) -> Path:
        """Where the agreement lies."""
        return self.path / "agreement.toml"

    def agreement(self) -> Agreement:
        """Return the agreement, once every party's signature on it was found right.

        Raises:
            ConfigError: There is none, or it has mistakes.
            AgreementError: A signature is missing.
        """
        agreement = load_agreement(self.agreement_path)
        require_signed(agreement, self.agreement_path)
        return agreement

    @contextmanager
    def locked(self) -> Generator[None]:
        """Be the one process that works here until the end of the block.

        Raises:
            Conflict: Another one is; `context["pid"]` says which.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / "lock").open("a+")
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be used: {error.strerror}.", "Name another folder with --home."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                pid = file.read().strip() or "unknown"
                raise Conflict(
                    f"{self.path} is in use by process {pid}.",
                    "Wait for it, stop it, or work in another folder with --home.",
                    pid=pid,
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def worker(self) -> int | None:
        """Return the id of the process that works here, or None when there is none, as far as Linux tells."""
        try:
            inode = (self.path / "lock").stat().st_ino
            locks = Path("/proc/locks").read_text()
        except OSError:
            return None
        held = (line.split() for line in locks.splitlines() if " FLOCK " in line and f":{inode} " in line)
        return next((int(fields[4]) for fields in held if fields[1] == "FLOCK"), None)

    # ---- sites -----------------------------------------------------------------------------------------------

    def sites(self) -> list[str]:
        """Return the names of the sites here."""
        return sorted(path.stem for path in (self.path / "sites").glob("*.toml"))

    def site_path(self, name: str) -> Path:
        """Return the file that describes a site here.

        Raises:
            UsageError: There is no such site.
        """
        path = self.path / "sites" / f"{name}.toml"
        if not path.exists():
            raise UsageError(
                f"There is no site '{name}' in {self.path}.{did_you_mean(name, self.sites())}",
                "List them with: renkei site list",
            )
        return path.resolve()

    def site(self, name: str) -> SiteFile:
        """Return what a site here offers.

        Raises:
            UsageError: There is no such site.
            ConfigError: Its file has mistakes.
        """
        return load_site(self.site_path(name))

    def key(self, name: str) -> Key:
        """Return the secret key of a party or institution; made when it is not there."""
        path = self.path / "keys" / f"{name}.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Key.generate(name).save(path)
        return Key.load(path)

    def embed(self, sites: Mapping[str, LocalSite], team: str) -> None:
        """Make the sites that a campaign file embeds, and an agreement that they and the team belong to.

        What is there already stays, but for the description of a site, which follows the campaign file.

        Raises:
            UsageError: The home has an agreement of more than its own party, which is not ours to change.
            AgreementError: The home's agreement would have to be changed, but is not in force.
        """
        (self.path / "sites").mkdir(parents=True, exist_ok=True)
        known = load_agreement(self.agreement_path) if self.agreement_path.exists() else None
        if known is None or not set(sites) <= set(known.sites) or not self._may_all_sign(known, sites, team):
            self._extend_agreement(known, sites, team)
        for name, site in sites.items():
            path = self.path / "sites" / f"{name}.toml"
            if site.site is not None:
                path.unlink(missing_ok=True)
                path.symlink_to(site.site)
            else:
                _write(path, site_text(name, site, team, self.path, _allocations_in(path)))

    def _may_all_sign(self, agreement: Agreement, sites: Mapping[str, LocalSite], team: str) -> bool:
        return all(agreement.may_sign_for(agreement.sites[name].institution, team) for name in sites)

    def _extend_agreement(self, known: Agreement | None, sites: Mapping[str, LocalSite], team: str) -> None:
        if known is not None and set(known.parties) != {LOCAL_PARTY}:
            missing = ", ".join(sorted(set(sites) - set(known.sites))) or f"team {team}"
            raise UsageError(
                f"The agreement of {self.path} does not have {missing}.",
                "A joint agreement is amended by its parties: add it there and have it signed again.",
            )
        starts, ends = date(2026, 1, 1), date(2099, 12, 31)
        if known is not None:
            starts, ends = (datetime.fromtimestamp(at, UTC).date() for at in (known.starts, known.ends - 1))
        institutions = dict(known.institutions) if known else {}
        for name in sites:
            institutions.setdefault(name, Institution(name=name, party=LOCAL_PARTY, key=self.key(name).public.text))
        teams = dict(known.teams) if known else {}
        members = teams[team].institutions if team in teams else ()
        teams[team] = Team(name=team, institutions=tuple(dict.fromkeys((*members, *sites))))
        places = dict(known.sites) if known else {}
        places |= {name: AgreementSite(institution=name) for name in sites if name not in places}
        text = new_agreement_text(
            "local",
            title="Embedded sites of one user",
            version=known.version + 1 if known else 1,
            starts=starts,
            ends=ends,
            parties={LOCAL_PARTY: Party(name="This machine", key=self.key(LOCAL_PARTY).public.text)},
            institutions=institutions,
            teams=teams,
            sites=places,
            contributions=known.contributions if known else (),
            rules=known.rules if known else (OPEN_RESEARCH,),
        )
        is_half_done = not unsigned_parties(parse_agreement(text), self.agreement_path)  # killed before it was written
        if known is not None and not is_half_done:
            require_signed(known, self.agreement_path)
        self.put_agreement(text, [self.key(LOCAL_PARTY)])

    def put_agreement(self, text: str, keys: Sequence[Key]) -> Agreement:
        """Have parties sign an agreement, then write it: there never is one here without their signatures."""
        agreement = parse_agreement(text, str(self.agreement_path))
        for key in keys:
            endorse(key, agreement, self.agreement_path)
        _write(self.agreement_path, text)
        return agreement

    def adopt(self, path: Path, key: Path | None, team: str) -> Agreement:
        """Work under a joint agreement: keep it here with its signatures, and a key of an institution of a team.

        Args:
            path: The agreement's file; its signatures lie beside it.
            key: The institution's secret key; left out, one in a folder `keys` beside the agreement.
            team: The team.

        Raises:
            AgreementError: It is not in force, or the key is of no institution of the team.
            UsageError: This home works under another agreement.
        """
        agreement = load_agreement(path)
        require_signed(agreement, path)
        if self.agreement_path.exists() and load_agreement(self.agreement_path).digest != agreement.digest:
            known = load_agreement(self.agreement_path)
            if known.name != agreement.name or known.version > agreement.version:
                raise UsageError(
                    f"{self.path} works under agreement '{known.name}', version {known.version}, not under {path}.",
                    "Work in another folder with --home.",
                )
        members = agreement.teams[team].institutions if team in agreement.teams else ()
        found = [key] if key else [path.parent / "keys" / f"{member}.key" for member in members]
        held = [Key.load(each) for each in found if each.exists()] if key is None else [Key.load(key)]
        fitting = [each for each in held if each.name in members]
        fitting = [each for each in fitting if agreement.institutions[each.name].key == each.public.text]
        if not fitting:
            raise AgreementError(
                f"No key of an institution of team '{team}' is here; it has: {', '.join(members) or 'nobody'}.",
                "Name the file of your institution's secret key with --key.",
            )
        (self.path / "sites").mkdir(parents=True, exist_ok=True)
        kept = self.path / "keys" / f"{fitting[0].name}.key"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            fitting[0].save(kept)
        _write(signatures_path(self.agreement_path), signatures_path(path).read_text("utf-8"))
        _write(self.agreement_path, agreement.source.decode())
        return agreement

    # ---- campaigns -------------------------------------------------------------------------------------------

    def campaigns(self) -> list[str]:
        """Return the names of the campaigns here, oldest first."""
        found = (self.path / "campaigns").glob("*/campaign.toml")
        return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime)]

    def campaign_directory(self, name: str) -> Path:
        """Return where a campaign lives, whether it is there or not."""
        return self.path / "campaigns" / name

    def has_campaign(self, name: str) -> bool:
        """Return whether a campaign of this name was begun here."""
        return (self.campaign_directory(name) / "campaign.toml").exists()

    def campaign(self, name: str) -> Campaign:
        """Return the definition of a campaign that was begun here.

        Raises:
            UsageError: There is no such campaign.
            ConfigError: Its file has mistakes.
        """
        directory = self.campaign_directory(name)
        if not self.has_campaign(name):
            raise UsageError(
                f"There is no campaign '{name}' in {self.path}.{did_you_mean(name, self.campaigns())}",
                "List them with: renkei campaign list",
            )
        folder = Path((directory / "folder").read_text("utf-8"))
        return parse_campaign(
            (directory / "campaign.toml").read_bytes(), str(directory / "campaign.toml"), folder=folder
        )

    def require_new(self, name: str) -> None:
        """Check that no campaign of this name was begun here.

        Raises:
            UsageError: One was.
        """
        if self.has_campaign(name):
            raise UsageError(
                f"Campaign '{name}' exists already in {self.path}.",
                f"Go on with it: renkei campaign resume {name}; or give the new one another name.",
            )

    def begin(self, campaign: Campaign, folder: Path) -> None:
        """Keep the definition of a new campaign; `folder` is what relative paths in it start from.

        Raises:
            UsageError: A campaign of this name was begun before.
        """
        self.require_new(campaign.name)
        directory = self.campaign_directory(campaign.name)
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / "folder", str(folder.absolute()))
        _write(directory / "campaign.toml", campaign.text)

    def forget(self, name: str) -> None:
        """Take back the definition of a campaign that came to nothing: its name is free again."""
        (self.campaign_directory(name) / "campaign.toml").unlink(missing_ok=True)

    def campaign_ledger(self, name: str) -> Path:
        """Return where a campaign's ledger lies."""
        return self.campaign_directory(name) / "ledger.db"

    def witness(self, campaign: str, site: str) -> Path:
        """Return where the leaf hashes of the ledger of a site elsewhere lie, as a campaign fetched them at its end."""
        return self.campaign_directory(campaign) / "witness" / f"{site}.leaves"

    def site_ledger(self, name: str) -> Path:
        """Return where a site's ledger lies."""
        return self.site(name).site.data / "ledger.db"


class ServedSite(Home):
    """A site that stands by itself, as the home of nothing but itself: its data folder, its file, its agreement.

    Args:
        path: The site's file.

    Raises:
        ConfigError: The file has mistakes.
    """

    def __init__(self, path: Path) -> None:
        self.file, self._file_path = load_site(path), path.absolute()
        super().__init__(self.file.site.data)

    @property
    def agreement_path(self) -> Path:
        """See `Home.agreement_path`."""
        if self.file.site.agreement is None:
            raise ConfigError(str(self._file_path), ["site.agreement: missing, expected the agreement's file"])
        return self.file.site.agreement

    def sites(self) -> list[str]:
        """See `Home.sites`."""
        return [self.file.site.name]

    def site_path(self, name: str) -> Path:
        """See `Home.site_path`."""
        if name != self.file.site.name:
            raise UsageError(f"{self._file_path} is the file of site '{self.file.site.name}', not of '{name}'.")
        return self._file_path


def home_at(path: Path) -> Home:
    """Return the home in a folder, or, of the file of a site that is served by itself, that site."""
    return ServedSite(path) if path.is_file() else Home(path)


def baseline_of(campaign: Campaign, replicate: int, site: str = "", offered: Collection[str] = ()) -> Campaign:
    """Return the campaign that is run as a replicate of another one's baseline: the same search, made simpler.

    It ends where the campaign would if it learns. Otherwise it goes on after the goal was reached, since every trial
    tells how often a trial is good.

    Args:
        campaign: What it is a baseline of.
        replicate: From 1; gives it its seed.
        site: The one site that it may use; left out, all of the campaign's.
        offered: The labels of the sources that this site offers.
    """
    assert campaign.baseline is not None
    baseline, planner, sources = campaign.baseline, campaign.planner, campaign.sources
    if not baseline.learns:
        planner = planner.model_copy(update={"name": baseline.planner, "options": {}, "warm": ()})
        sources = tuple(source for source in sources if source.counts)
    if site:
        here = [source for source in sources if source.label in offered]
        sources = tuple(source.model_copy(update={"sites": (site,)}) for source in here)
    limits = {"trials": baseline.trials or campaign.stop.trials}
    stop = campaign.stop.model_copy(update=limits if baseline.learns else limits | {"reached": False})
    return replace(
        campaign,
        name=f"{campaign.name}.{baseline_folder(replicate, site)}",
        seed=campaign.seed + 1_000_003 * replicate,
        planner=planner,
        sources=sources,
        stop=stop,
        baseline=None,
    )


def baseline_folder(replicate: int, site: str = "") -> str:
    """Return the folder of a baseline campaign, below that of the campaign that it is a baseline of."""
    return f"baseline-{site}-{replicate}" if site else f"baseline-{replicate}"


def site_of_baseline(folder: str) -> str:
    """Return the one site of the baseline campaign in a folder; empty where it is not one of a single site."""
    return folder.removeprefix("baseline-").rpartition("-")[0]


def _allocations_in(path: Path) -> Sequence[AllocationFile]:
    """Return what the description of an embedded site gives to teams so far."""
    try:
        return load_site(path).allocations if path.exists() and not path.is_symlink() else ()
    except ConfigError:
        return ()


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
