"""The tables of a scenario's result, as text for people."""

from collections.abc import Sequence
from statistics import median

from renkei.sim._result import DAY_S, CampaignResult, Result
from renkei.sim._scenario import Scenario

Row = tuple[str, ...]
Table = tuple[Row, list[Row]]
"""Heads, and rows. A head that begins with ">" is of numbers."""

_WINDOW_S = 3 * DAY_S
"""How long before and after an event runs are counted to see what it did."""


def summary(scenario: Scenario, result: Result) -> list[str]:
    """Return the first lines: what was simulated and how much came of it."""
    about = scenario.scenario
    n_found = sum(each.discovered_s is not None for each in result.campaigns)
    how = "all sites of each team" if result.joint else "each campaign at its best single site"
    days = result.ended_s / DAY_S
    made_up = " Its institutions, teams and figures are made up." if about.illustrative else ""
    return [
        f"{about.title or about.name}.{made_up}",
        f"seed {result.seed}, {days:.1f} virtual days, {how}",
        f"{result.n_runs:,} runs ({result.n_runs / days:,.0f} a day), {len(result.campaigns)} campaigns, "
        f"{n_found} of them made their discovery, {result.n_records:,} records",
    ]


def site_table(result: Result) -> Table:
    """Return what sites did: runs that ran, those that failed or were lost, and how long runs waited."""
    rows: list[Row] = []
    for name, tally in result.sites.items():
        waiting = tally.waiting_s()
        waits = ("", "") if waiting is None else tuple(map(duration, waiting))
        n_failed = tally.outcomes["failed"] + tally.outcomes["lost"]
        counts = (f"{n:,}" for n in (len(tally.ended_s), n_failed, tally.outcomes["open"]))
        rows.append((name, *counts, *waits, f"{tally.busy_s / 3600:,.0f}"))
    return ("site", ">ran", ">failed", ">open", ">waited, median", ">one in ten over", ">hours of runs"), rows


def team_table(result: Result) -> Table:
    """Return what teams did: campaigns, discoveries, and the median time to one of those that made it."""
    rows: list[Row] = []
    for name, campaigns in by_series(result).items():
        n_runs, n_found, time_to = _counts(campaigns)
        trials = [each.trials_to_discovery for each in campaigns if each.trials_to_discovery is not None]
        of = f"{median(trials):,.0f}" if trials else ""
        rows.append((campaigns[0].team, name, f"{len(campaigns):,}", n_runs, n_found, time_to, of))
    return ("team", "series", ">campaigns", ">runs", ">discoveries", ">time to one", ">trials to one"), rows


def allocation_table(result: Result) -> Table:
    """Return what was given to each team at each site, and what was used of it."""
    rows: list[Row] = []
    for each in sorted(result.allocations, key=lambda each: (each.team, each.site)):
        if each.granted:
            given, share = f"{each.granted:,.0f} {each.unit}", f"{each.spent / each.granted:.0%}"
            rows.append((each.team, each.site, given, f"{each.spent:,.0f}", share))
    return ("team", "site", ">given", ">spent", ">used"), rows


def event_table(scenario: Scenario, result: Result) -> Table:
    """Return what happened: runs that ended a day and their median wait, in the three days before and after."""
    ends = [
        (at, wait) for tally in result.sites.values() for at, wait in zip(tally.ended_s, tally.waits_s, strict=True)
    ]
    rows: list[Row] = []
    for at, what in events(scenario, result):
        cells: list[tuple[str, str]] = []
        for low, high in ((max(0.0, at - _WINDOW_S), at), (at, min(result.ended_s, at + _WINDOW_S))):
            waits = [wait for end, wait in ends if low <= end < high]
            cells.append((f"{len(waits) / (high - low) * DAY_S:,.0f}", duration(median(waits)) if waits else ""))
        (rate, wait), (rate_after, wait_after) = cells
        rows.append((f"{at / DAY_S:.1f}", what, rate, rate_after, wait, wait_after))
    return (">day", "what", ">runs a day before", ">after", ">waited before", ">after"), rows


def effect_table(result: Result, calm: Result) -> Table:
    """Return what the events of a scenario changed.

    Args:
        result: What came of it.
        calm: What came of it, with the same seed, where no site was lost and nobody acceded.
    """
    others = by_series(calm)
    rows: list[Row] = [
        (campaigns[0].team, name, *_counts(campaigns), *_counts(others.get(name, [])))
        for name, campaigns in by_series(result).items()
    ]
    rows.append(("all", "", *_counts(result.campaigns), *_counts(calm.campaigns)))
    heads = (">runs", ">discoveries", ">time to one")
    return ("team", "series", *heads, *(f"{head}, calm" for head in heads)), rows


def _counts(campaigns: Sequence[CampaignResult]) -> tuple[str, str, str]:
    times = [each.discovered_s for each in campaigns if each.discovered_s is not None]
    n_runs = sum(each.n_runs for each in campaigns)
    return f"{n_runs:,}", f"{len(times):,}", duration(median(times)) if times else "none made"


def events(scenario: Scenario, result: Result) -> list[tuple[float, str]]:
    """Return when something happened, in seconds from the beginning, and what, in order."""
    found = [(loss.at_s, f"{loss.site} goes down") for loss in scenario.loss]
    found += [(loss.at_s + loss.lasts_s, f"{loss.site} is back") for loss in scenario.loss if loss.lasts_s]
    parties = scenario.parties.values()
    found += [(party.accedes_s, f"{party.name} accedes") for party in parties if party.accedes_s]
    return sorted((at, what) for at, what in found if 0 < at < result.ended_s)


def by_series(result: Result) -> dict[str, list[CampaignResult]]:
    """Return the campaigns of every series, in the order in which they began."""
    found: dict[str, list[CampaignResult]] = {}
    for each in sorted(result.campaigns, key=lambda each: (each.team, each.began_s)):
        found.setdefault(each.series, []).append(each)
    return found


def duration(seconds: float) -> str:
    """Return a length of time in one unit."""
    for size, unit in ((DAY_S, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
