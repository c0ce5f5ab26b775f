"""The productivity question: the same searches at the best single site each, and at all sites of their team."""

import hashlib
import math
import multiprocessing
import os
import statistics
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import msgspec

from renkei.errors import UsageError
from renkei.planning._statistics import expanded_interval, resampled
from renkei.sim._federation import run_scenario
from renkei.sim._scenario import Scenario, Series

PILOT = 10
"""With so many seeds every way to work alone is tried."""

N_KEPT = 2
"""How many ways to work alone are then tried with the other seeds, too, if they are as near to the best as this."""
NEAR = 1.05

QUICK_PLANNERS = ("random", "sobol")
"""Planners whose points do not depend on what was observed, so that more trials at work never mislead them."""

Interval = tuple[float, float]
OnProgress = Callable[[int, int], None]
"""Told how many searches were made, and of how many."""


@dataclass(frozen=True)
class Search:
    """What came of one search with one seed.

    Args:
        is_found: Whether it made its discovery.
        time_s: How long that took, in seconds; if it made none, how long it lasted.
        n_trials: How many trials it made in all, those included that were at work when it was over.
        charges: What it was charged in all, by unit.
    """

    is_found: bool
    time_s: float
    n_trials: int
    charges: dict[str, float]


@dataclass(frozen=True)
class Arm:
    """One way to work, and what came of it.

    Args:
        sites: Where it may run.
        parallel: How many trials it keeps at work.
        searches: One for each seed, in their order.
    """

    sites: tuple[str, ...]
    parallel: int
    searches: tuple[Search, ...] = ()

    @property
    def bare(self) -> "Arm":
        """The way to work, without what came of it."""
        return Arm(self.sites, self.parallel)

    @property
    def n_found(self) -> int:
        """In how many seeds it made its discovery."""
        return sum(each.is_found for each in self.searches)

    @property
    def median_s(self) -> float:
        """The median time to discovery, in seconds; a search that made none is longer than any that did."""
        return statistics.median(self._times_s)

    @property
    def interval_s(self) -> Interval:
        """The 95% bootstrap interval of the median time to discovery, in seconds."""
        return expanded_interval(resampled(self._times_s, statistics.median), len(self.searches))

    @property
    def _times_s(self) -> list[float]:
        return [each.time_s if each.is_found else math.inf for each in self.searches]

    def cost(self) -> dict[str, float]:
        """Return what a discovery cost by unit: all that was charged, by how many were made."""
        total = Counter[str]()
        for each in self.searches:
            total.update(each.charges)
        return {unit: value / self.n_found for unit, value in sorted(total.items())} if self.n_found else {}


@dataclass(frozen=True)
class TeamComparison:
    """One team's search, alone and joint.

    Args:
        team: Whose it is.
        series: What the search is called.
        planner: What proposes its points.
        alone: At the single site, and with so many trials at work, that has the lowest median.
        joint: At all sites that give to the team.
        tried: Every way to work alone, with as many searches as it was given.
        capacity: How many times what the single site can work on, slots times speed, all sites together can, of the
            procedure itself.
    """

    team: str
    series: str
    planner: str
    alone: Arm
    joint: Arm
    tried: tuple[Arm, ...]
    capacity: float

    @cached_property
    def ratios(self) -> list[float]:
        """How many times sooner the joint search made the discovery, for every seed; at least.

        A search alone that found nothing counts with what it lasted; where the joint one found nothing the ratio is 0.
        Both are the least that the ratio can be.
        """
        pairs = zip(self.alone.searches, self.joint.searches, strict=True)
        return [alone.time_s / joint.time_s if joint.is_found else 0.0 for alone, joint in pairs]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def ratio_interval(self) -> Interval:
        """Its 95% interval: bootstrap over seeds."""
        return expanded_interval(resampled(self.ratios, statistics.median), len(self.ratios))


@dataclass(frozen=True)
class Comparison:
    """A scenario's searches, alone and joint.

    Args:
        scenario: Its name.
        title: Its title for people.
        illustrative: Whether its institutions and numbers are made up.
        seeds: What it was run with.
        teams: In the scenario's order.
        left_out: Searches that have a single site, and so nothing to compare, or begin after the scenario's time.
    """

    scenario: str
    title: str
    illustrative: bool
    seeds: tuple[int, ...]
    teams: tuple[TeamComparison, ...]
    left_out: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """The median over all teams and seeds of how many times sooner the joint search made its discovery."""
        return statistics.median(ratio for team in self.teams for ratio in team.ratios)

    @property
    def ratio_interval(self) -> Interval:
        """Its 95% interval: bootstrap over seeds, each with all of its teams."""
        rows = [*zip(*(team.ratios for team in self.teams), strict=True)]
        draws = resampled(rows, lambda drawn: statistics.median(ratio for row in drawn for ratio in row))
        return expanded_interval(draws, len(rows))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: what came of every search, and what follows from it."""
        summary = {
            "ratio": self.ratio,
            "ratio_interval": self.ratio_interval,
            "teams": {
                each.series: {
                    "ratio": each.ratio,
                    "ratio_interval": each.ratio_interval,
                    "median_s": {"alone": each.alone.median_s, "joint": each.joint.median_s},
                    "interval_s": {"alone": each.alone.interval_s, "joint": each.joint.interval_s},
                    "found": {"alone": each.alone.n_found, "joint": each.joint.n_found},
                    "cost": {"alone": each.alone.cost(), "joint": each.joint.cost()},
                }
                for each in self.teams
            },
        }
        return {**asdict(self), "summary": summary}

    @classmethod
    def from_json(cls, content: bytes | str) -> "Comparison":
        """Return what `to_json` was made of.

        Raises:
            UsageError: It is something else.
        """
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError as error:
            raise UsageError(f"This is no comparison: {error}.", "Make one with: renkei sim compare --out.") from None


def compare(
    scenario: Scenario,
    seeds: Sequence[int],
    *,
    n_processes: int = 1,
    notes: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Make every search of a scenario with every seed, alone and joint.

    Each search has its team's slots and sites for itself, in both ways of working: what others do there is in the
    waits. It ends with its discovery. Alone it has one site, which is given what all of the team's sites together give,
    enough for as many runs; joint it may use them all. The same seed has the same hidden point in both.

    Alone means what turns out best afterwards: every site that gives to the team is tried and, where a planner learns,
    with as many trials at work as joint and with as many as the site has slots. That with the lowest median is taken.
    What is not the best after ten seeds, nor second and within a twentieth of the best, is not tried with more.

    Args:
        scenario: Whose searches.
        seeds: At least two.
        n_processes: How many searches are made at the same time.
        notes: A file in which searches are noted as they are made; those that it has already are not made again.
        on_progress: Told after every search.

    Raises:
        UsageError: There are fewer than two seeds, no search that begins in the scenario's time has two sites, or the
            notes are of another scenario.
    """
    if len(set(seeds)) < 2:
        raise UsageError("An interval needs at least two seeds.", "Give more with --seeds.")
    begins = {each.name: each.begins_s or 0.0 for each in scenario.campaign}
    has_two = {
        each.name: len(_open_sites(scenario, each, *each.works)) > 1 and begins[each.name] < scenario.scenario.time_s
        for each in scenario.campaign
    }
    searched = [each for each in scenario.campaign if has_two[each.name]]
    if not searched:
        raise UsageError(
            f"No campaign of scenario '{scenario.scenario.name}' has two sites from the beginning to compare.",
            "Have several sites offer its procedure and give to its team.",
        )
    pilot, others = seeds[:PILOT], seeds[PILOT:]
    ways = {each.name: [_joint(scenario, each), *ways_alone(scenario, each)] for each in searched}
    with _workers(n_processes) as work, _Notes(scenario, notes) as known:
        maker = _Maker(scenario, work, known, on_progress or _ignore)
        maker.make([(each, way, seed) for seed in pilot for each in searched for way in ways[each.name]], len(others))
        kept = {
            each.name: (
                ways[each.name][0],
                *_nearest(maker.arms(each, ways[each.name][1:], pilot)),
            )
            for each in searched
        }
        maker.make([(each, way, seed) for seed in others for each in searched for way in kept[each.name]])
    teams: list[TeamComparison] = []
    for each in searched:
        joint, *rest = maker.arms(each, kept[each.name], seeds)
        alone = min(rest, key=lambda arm: arm.median_s)
        tried = (*rest, *maker.arms(each, [w for w in ways[each.name] if w not in kept[each.name]], pilot))
        teams.append(
            TeamComparison(
                each.team,
                each.name,
                each.planner,
                alone,
                joint,
                tried,
                _capacity(scenario, each, joint) / _capacity(scenario, each, alone),
            )
        )
    about = scenario.scenario
    left_out = tuple(name for name, has in has_two.items() if not has)
    return Comparison(about.name, about.title, about.illustrative, tuple(seeds), tuple(teams), left_out)


def _ignore(n_done: int, total: int) -> None:
    del n_done, total


def _nearest(arms: Sequence[Arm]) -> list[Arm]:
    """Return the ways to work alone that are worth more seeds."""
    ordered = sorted(arms, key=lambda arm: arm.median_s)
    limit_s = NEAR * ordered[0].median_s
    return [arm.bare for arm in ordered[:N_KEPT] if arm.median_s <= limit_s]


def _capacity(scenario: Scenario, series: Series, arm: Arm) -> float:
    """Return how much can be worked on at the sites of an arm that offer the procedure itself."""
    there = [scenario.sites[name] for name in arm.sites if series.procedure in scenario.sites[name].procedures]
    return sum(site.slots * site.speed for site in there)


def _joint(scenario: Scenario, series: Series) -> Arm:
    return Arm(tuple(_open_sites(scenario, series, *series.works)), series.parallel)


class _Maker:
    """Makes searches that are not known yet, and puts them together."""

    def __init__(self, scenario: Scenario, work: "Work", known: "_Notes", on_progress: OnProgress) -> None:
        self._scenario, self._work, self._known, self._on_progress = scenario, work, known, on_progress
        self._found: dict[str, Search] = {}

    def make(self, wanted: Sequence[tuple[Series, Arm, int]], n_more_seeds: int = 0) -> None:
        """Make searches; say that the same teams come with so many seeds more, each alone in one way at least."""
        keys = [_key(series, arm, seed) for series, arm, seed in wanted]
        new = self._work(
            (_only(self._scenario, series, arm), arm, seed)
            for key, (series, arm, seed) in zip(keys, wanted, strict=True)
            if key not in self._known.searches
        )
        total = len(self._found) + len(wanted) + n_more_seeds * 2 * len({series.name for series, _, _ in wanted})
        for key in keys:
            self._found[key] = self._known.searches.get(key) or self._known.add(key, next(new))
            self._on_progress(len(self._found), total)

    def arms(self, series: Series, ways: Iterable[Arm], seeds: Iterable[int]) -> list[Arm]:
        """Return ways to work with what came of them."""
        return [
            Arm(way.sites, way.parallel, tuple(self._found[_key(series, way, seed)] for seed in seeds)) for way in ways
        ]


def _key(series: Series, arm: Arm, seed: int) -> str:
    return f"{series.name} at {'+'.join(arm.sites)} x{arm.parallel} seed {seed}"


def _open_sites(scenario: Scenario, series: Series, *works: str) -> list[str]:
    there = scenario.sites_for(series, *works)
    return [name for name in there if scenario.joins_s(scenario.sites[name].institution) == 0.0]


def ways_alone(scenario: Scenario, series: Series) -> list[Arm]:
    """Return the ways in which a search can be made at a single site."""
    found = list[Arm]()
    for name in _open_sites(scenario, series):
        at_work = {series.parallel}
        if series.planner not in QUICK_PLANNERS:
            at_work.add(min(series.parallel, scenario.sites[name].slots))
        found += [Arm((name,), n) for n in sorted(at_work)]
    return found


def _only(scenario: Scenario, series: Series, arm: Arm) -> Scenario:
    """Return the scenario with nothing in it but one search, which ends with its discovery."""
    search = series.model_copy(
        update={
            "parallel": arm.parallel, "trials": scenario.trials(series), "share": None, "times": 1, "goes_on": False,
        }
    )  # fmt: skip
    sites = {name: scenario.sites[name] for name in _open_sites(scenario, series, *series.works)}
    losses = tuple(loss for loss in scenario.loss if loss.site in sites)
    return scenario.model_copy(update={"campaign": (search,), "sites": sites, "loss": losses})


Task = tuple[Scenario, Arm, int]
Work = Callable[[Iterable[Task]], Iterator[Search]]


def make_search(task: Task) -> Search:
    """Make one search: a scenario with nothing else in it, a way to work, and a seed."""
    scenario, arm, seed = task
    is_joint = len(arm.sites) > 1
    alone_at: Mapping[str, str] = {} if is_joint else {scenario.campaign[0].name: arm.sites[0]}
    result = run_scenario(scenario, seed=seed, joint=is_joint, alone_at=alone_at)
    found = result.campaigns[0]
    lasted_s = found.ended_s - found.began_s
    is_found = found.discovered_s is not None
    return Search(
        is_found, lasted_s if found.discovered_s is None else found.discovered_s, found.n_trials, found.charges
    )


@contextmanager
def _workers(n_processes: int) -> Generator[Work]:
    """Provide what makes searches, in their order: this process, or several others."""
    if n_processes == 1:
        yield lambda tasks: map(make_search, tasks)
        return
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn")) as pool:
        yield lambda tasks: pool.map(make_search, tasks)


class _Notes:
    """Searches by what they are, in a file with one line each, after one that says of what scenario."""

    def __init__(self, scenario: Scenario, path: Path | None) -> None:
        self.searches: dict[str, Search] = {}
        self._path, self._file = path, None
        self._head = hashlib.sha256(scenario.model_dump_json().encode()).hexdigest()

    def __enter__(self) -> Self:
        if self._path is not None:
            self._path.touch()
            content = self._path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]  # a line that was not written to its end is made again
            os.truncate(self._path, len(whole))
            self._file = self._path.open("a")
            if not whole:
                self._file.write(f"{self._head}\n")
            elif whole.splitlines()[0] != self._head.encode():
                self._file.close()
                raise UsageError(f"{self._path} has searches of another scenario.", "Move it away, and try again.")
            self.searches = dict(msgspec.json.decode(line, type=tuple[str, Search]) for line in whole.splitlines()[1:])
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, key: str, search: Search) -> Search:
        """Note a search, and return it."""
        if self._file is not None:
            self._file.write(msgspec.json.encode((key, search)).decode() + "\n")
            self._file.flush()
        return search
