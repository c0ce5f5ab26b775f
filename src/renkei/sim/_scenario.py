"""A scenario: a partnership whose months are simulated, as `scenario.toml` spells it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from renkei.errors import ConfigError, UsageError
from renkei.model.fields import Amount, Distinct, Duration, Many, Name, Text, declares, known
from renkei.model.files import Scope, Table, expected, read_bytes, read_tables, read_toml
from renkei.model.quantity import Quantity
from renkei.model.site_file import Charge

SHIPPED = Path(__file__).parent / "scenarios"
"""Where the scenarios are that come with the package."""


class ScenarioTable(Table):
    """[scenario]: what is simulated, and for how long."""

    name: Name = Field(description="Its name.")
    title: str = Field(default="", description="Its title for people.")
    illustrative: bool = Field(default=True, description="Whether its institutions and teams are made-up examples.")
    time_s: Duration = Field(description="How long it is watched, for example '30 d'.")
    seed: int = Field(default=0, ge=0, description="Same seed, same ledgers.")
    runs: int = Field(default=1000, ge=1, description="How many trials all campaigns with a share make together.")
    within_s: Duration = Field(default=0.01, description="How long a message takes inside a party, one way.")
    between_s: Duration = Field(default=0.075, description="How long a message takes between parties, one way.")


class ScenarioParty(Table):
    """[parties.ID]: a nation or agency."""

    name: Text = Field(description="Its name for people.")
    accedes_s: Duration | None = Field(
        default=None,
        description="When it joins, with its institutions and sites; left out, it is there from the beginning. "
        "Campaigns that begin after that use its sites.",
    )


class ScenarioInstitution(Table):
    """[institutions.ID]: a laboratory, university or company."""

    name: Text = Field(description="Its name for people.")
    party: Annotated[Name, known("party")] = Field(description="The party that it belongs to.")


class Work(Table):
    """How long runs take."""

    run_s: Duration = Field(description="The median length of a run at a site of speed 1.")
    spread: float = Field(default=0.3, ge=0, description="The standard deviation of the logarithm of its length.")
    time_limit_s: Duration = Field(description="The longest that a run may take.")


class Landscape(Work):
    """[procedures.NAME]: what runs of a procedure take and find.

    A run measures how far a point of the unit cube is from a hidden one, which differs for every campaign and seed.
    """

    parameters: int = Field(ge=1, le=12, description="How many parameters it has, each between 0 and 1.")
    one_in: float = Field(
        ge=1, description="One in so many random points makes the discovery: the volume of a ball about the hidden one."
    )
    power: float = Field(
        default=1.0,
        gt=0,
        le=4,
        description="Its output is the distance to this power: with 1 it has a kink at the hidden point, with 2 it is "
        "smooth there.",
    )
    infeasible: float = Field(default=0.0, ge=0, lt=1, description="The share of the space where it cannot work.")

    @property
    def radius(self) -> float:
        """How near the hidden point a discovery is: the radius of a ball of volume 1 / one_in."""
        n = self.parameters
        return (math.gamma(n / 2 + 1) / self.one_in) ** (1 / n) / math.sqrt(math.pi)


def _fits(procedures: dict[str, Landscape]) -> dict[str, Landscape]:
    for name, landscape in procedures.items():
        if landscape.radius > 0.5:
            raise expected(f"a discovery that is rarer: the ball of {name} does not fit into the cube")
    return procedures


class Approximation(Work):
    """[approximations.NAME]: a procedure that tells something of another one, as a simulation does of a measurement.

    It measures how far a point is from another hidden one, and works everywhere.
    """

    of: Annotated[Name, known("procedure")] = Field(description="The procedure that it approximates.")
    off: float = Field(
        ge=0,
        lt=1,
        description="How far its hidden point is from the procedure's, in a direction that differs for every campaign "
        "and seed.",
    )
    price: float = Field(
        gt=0, description="What planners take a run of it to cost, as a share of a run of the procedure itself."
    )


class Maintenance(Table):
    """[[sites.NAME.maintenance]]: when a machine is closed. Jobs that run then are ended, others wait."""

    at_s: Duration = Field(description="When, from the beginning.")
    lasts_s: Duration = Field(description="For how long.")


def _in_unit(gives: dict[str, Quantity], info: ValidationInfo) -> dict[str, Quantity]:
    charge = info.data.get("charge")
    if isinstance(charge, Charge) and (other := next((q for q in gives.values() if q.unit != charge.unit), None)):
        raise expected(f"quantities in {charge.unit}, as runs are charged, but there is '{other}'")
    return gives


def _offers_something(approximations: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    if not approximations and not info.data.get("procedures", ("unknown",)):
        raise expected("procedures or approximations that the site offers")
    return approximations


class ScenarioSite(Table):
    """[sites.NAME]: a machine or instrument with its queue."""

    institution: Annotated[Name, known("institution")] = Field(description="The institution that runs it.")
    procedures: Distinct[Annotated[Name, known("procedure")]] = Field(default=(), description="What it offers.")
    approximations: Annotated[Distinct[Annotated[Name, known("approximation")]], AfterValidator(_offers_something)] = (
        Field(default=(), validate_default=True, description="Approximations that it offers.")
    )
    slots: int = Field(ge=1, description="How many jobs run at the same time.")
    speed: float = Field(default=1.0, gt=0, description="How much faster than others its runs are.")
    queue_s: Duration | None = Field(
        default=None, description="The median time that a job waits before it may take a slot; left out, none."
    )
    queue_spread: float = Field(default=1.0, ge=0, description="The standard deviation of the logarithm of that time.")
    poll_s: Duration | None = Field(
        default=None,
        description="How often the site asks its engine what became of jobs; left out, it is told at once.",
    )
    fails: float = Field(default=0.0, ge=0, lt=1, description="The share of jobs that the machine fails.")
    charge: Charge = Field(description="What a run is charged.")
    gives: Annotated[dict[Annotated[Name, known("team")], Amount], AfterValidator(_in_unit)] = Field(
        description="What each team may use, in the unit that runs are charged in, for example '40 node-hour'."
    )
    maintenance: Many[Maintenance] = Field(default=(), description="Tables [[sites.NAME.maintenance]].")

    @property
    def works(self) -> tuple[str, ...]:
        """All that it offers."""
        return *self.procedures, *self.approximations


class ScenarioTeam(Table):
    """[teams.ID]: people who work together."""

    name: Text = Field(description="Its name for people.")
    institutions: Distinct[Annotated[Name, known("institution")]] = Field(
        min_length=1, description="Its institutions; campaigns are at home at the first one."
    )


def _either(share: float | None, info: ValidationInfo) -> float | None:
    if (share is None) == (info.data.get("trials") is None):
        raise expected("either trials or a share of the scenario's runs")
    return share


class Series(Table):
    """[[campaign]]: a campaign, or several of the same kind that a team makes one after another."""

    name: Name = Field(description="Its name; those of a series get numbers.")
    team: Annotated[Name, known("team")] = Field(description="Whose it is.")
    procedure: Annotated[Name, known("procedure")] = Field(description="What its trials run.")
    approximations: Distinct[Annotated[Name, known("approximation")]] = Field(
        default=(), description="What else its trials may run. Only the procedure itself makes the discovery."
    )
    planner: Name = Field(default="sobol", description="What proposes its points.")
    parallel: int = Field(default=4, ge=1, le=4096, description="How many trials at the same time.")
    informing: int = Field(default=4, ge=1, le=4096, description="How many of approximations, besides.")
    trials: int | None = Field(default=None, ge=1, description="After how many trials it ends.")
    share: Annotated[float | None, AfterValidator(_either)] = Field(
        default=None, gt=0, validate_default=True, description="In place of trials: its share of the scenario's runs."
    )
    times: int = Field(default=1, ge=1, le=1000, description="How many of its kind there are.")
    begins_s: Duration | None = Field(default=None, description="When the first begins; left out, at once.")
    every_s: Duration | None = Field(
        default=None, description="How long after one the next begins; left out, when that one is over."
    )
    goes_on: bool = Field(default=False, description="Whether it makes all its trials, also after its discovery.")

    @property
    def works(self) -> tuple[str, ...]:
        """All that its trials may run, the procedure first."""
        return self.procedure, *self.approximations

    @property
    def names(self) -> list[str]:
        """What its campaigns are called."""
        return [self.name] if self.times == 1 else [f"{self.name}-{n}" for n in range(1, self.times + 1)]


class Loss(Table):
    """[[loss]]: a site that goes down, with all that runs there."""

    site: Annotated[Name, known("site")] = Field(description="The site.")
    at_s: Duration = Field(description="When, from the beginning.")
    lasts_s: Duration | None = Field(default=None, description="When it is back; left out, never.")


def _with_sites(campaigns: tuple[Series, ...], info: ValidationInfo) -> tuple[Series, ...]:
    """Check that every campaign has sites to run at, approximations of what it is after, and a name of its own."""
    sites: Mapping[str, ScenarioSite] = info.data.get("sites", {})
    approximations: Mapping[str, Approximation] = info.data.get("approximations", {})
    for series in campaigns:
        for work in series.works:
            if sites and not any(work in site.works and series.team in site.gives for site in sites.values()):
                raise expected(f"a site that offers '{work}' and gives something to team '{series.team}'")
        for name in series.approximations:
            if name in approximations and approximations[name].of != series.procedure:
                raise expected(f"an approximation of '{series.procedure}', but '{name}' is one of something else")
    names = [name for series in campaigns for name in series.names]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise expected(f"another name for each campaign, but '{doubled}' is there twice")
    return campaigns


class Scenario(Table):
    """scenario.toml."""

    scenario: ScenarioTable = Field(description="The table [scenario].")
    parties: Annotated[dict[Name, ScenarioParty], declares("party")] = Field(
        min_length=1, description="A table [parties.ID] for every party."
    )
    institutions: Annotated[dict[Name, ScenarioInstitution], declares("institution")] = Field(
        min_length=1, description="A table [institutions.ID] for every institution."
    )
    procedures: Annotated[dict[Name, Landscape], declares("procedure"), AfterValidator(_fits)] = Field(
        min_length=1, description="A table [procedures.NAME] for every procedure."
    )
    approximations: Annotated[dict[Name, Approximation], declares("approximation")] = Field(
        default_factory=dict[Name, Approximation], description="A table [approximations.NAME] for every approximation."
    )
    teams: Annotated[dict[Name, ScenarioTeam], declares("team")] = Field(
        min_length=1, description="A table [teams.ID] for every team."
    )
    sites: Annotated[dict[Name, ScenarioSite], declares("site")] = Field(
        min_length=1, description="A table [sites.NAME] for every site."
    )
    campaign: Annotated[Many[Series], AfterValidator(_with_sites)] = Field(
        min_length=1, description="Tables [[campaign]]."
    )
    loss: Many[Loss] = Field(default=(), description="Tables [[loss]].")

    def with_scale(self, *, runs: int | None = None, time_s: float | None = None) -> "Scenario":
        """Return the same scenario with another number of runs, or watched for another time."""
        changes = {name: value for name, value in (("runs", runs), ("time_s", time_s)) if value is not None}
        return self.model_copy(update={"scenario": self.scenario.model_copy(update=changes)})

    def without_events(self) -> "Scenario":
        """Return the same scenario in which no site is lost and nobody accedes."""
        never = {
            name: party.model_copy(update={"accedes_s": math.inf})
            for name, party in self.parties.items()
            if party.accedes_s is not None
        }
        return self.model_copy(update={"loss": (), "parties": {**self.parties, **never}})

    def joins_s(self, institution: str) -> float:
        """Return when an institution joins."""
        return self.parties[self.institutions[institution].party].accedes_s or 0.0

    def trials(self, series: Series) -> int:
        """Return how many trials each campaign of a series makes."""
        if series.share is None:
            return series.trials or 1
        whole = sum(each.share * each.times for each in self.campaign if each.share is not None)
        return max(1, math.ceil(self.scenario.runs * series.share / whole))

    def work(self, name: str) -> Work:
        """Return a procedure or an approximation."""
        return self.procedures.get(name) or self.approximations[name]

    def sites_for(self, series: Series, *works: str) -> list[str]:
        """Return the sites where a campaign may run its procedure, or any of `works`: those that give to its team."""
        wanted = set(works or (series.procedure,))
        return [n for n, site in self.sites.items() if wanted.intersection(site.works) and series.team in site.gives]

    def best_site(self, series: Series) -> str:
        """Return where a campaign is done soonest if it runs at one site alone, with the machine to itself.

        Counted are rounds of runs, each of a wait in the queue and a run, both at their mean. The sites of the team's
        own institutions come first; the others only where none of these offers the procedure.
        """
        own = self.teams[series.team].institutions
        there = [name for name in self.sites_for(series) if self.joins_s(self.sites[name].institution) == 0.0]
        at_home = [name for name in there if self.sites[name].institution in own]
        found = at_home or there
        if not found:
            raise UsageError(f"Campaign '{series.name}' has no site at the beginning.", "Have one give to its team.")
        return min(found, key=lambda name: (self.expected_s(series, name), name))

    def expected_s(self, series: Series, site: str) -> float:
        """Return about how long all trials of a campaign take at one site alone."""
        machine, work = self.sites[site], self.procedures[series.procedure]
        wait_s = (machine.queue_s or 0.0) * math.exp(machine.queue_spread**2 / 2) + (machine.poll_s or 0.0) / 2
        run_s = work.run_s / machine.speed * math.exp(work.spread**2 / 2)
        n = self.trials(series)
        at_once = min(series.parallel, machine.slots)
        return max(math.ceil(n / series.parallel) * (wait_s + run_s), math.ceil(n / at_once) * run_s)


def _agrees(scenario: Scenario) -> list[str]:
    """Return what is wrong between the tables of a scenario."""
    homes = {team.institutions[0] for team in scenario.teams.values()}
    return [
        f"teams: found '{home}' as a first institution, expected one that is there from the beginning"
        for home in sorted(homes)
        if scenario.joins_s(home) > 0.0
    ]


def parse_scenario(text: bytes | str, source: str = "scenario.toml") -> Scenario:
    """Return the scenario that a file describes.

    Raises:
        ConfigError: Lists every mistake in it.
    """
    raw = read_toml(text, source)
    scenario = read_tables(Scenario, raw, source, Scope(raw=raw))
    if wrong := _agrees(scenario):
        raise ConfigError(source, wrong)
    return scenario


def load_scenario(path: Path | None = None) -> Scenario:
    """Return the scenario in a file; without one, the reference partnership that comes with the package.

    Raises:
        ConfigError: It cannot be read, or lists every mistake in it.
    """
    path = path or SHIPPED / "partnership.toml"
    return parse_scenario(read_bytes(path), str(path))
