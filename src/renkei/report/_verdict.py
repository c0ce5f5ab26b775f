"""The verdict: what a campaign found and how much faster than its baseline, in two sentences."""

from renkei.campaign import TrialRow
from renkei.planning.acceleration import Acceleration, Clarity, Measure
from renkei.report import _words as words
from renkei.report._acceleration import Accelerations
from renkei.report._view import CampaignView

_BASELINES = {"sobol": "Sobol sampling", "random": "random search"}


def baseline_name(acceleration: Accelerations, measure: Measure = "trials") -> str:
    """Return what people call the baseline."""
    if acceleration.is_exact and measure == "trials":
        return "random drawing from the pool"
    name = acceleration.baseline or "no baseline"
    if acceleration.single:
        site = acceleration.best_site.get(measure)
        name = name if " at " in name else f"the {name}"
        return f"{name} ({site})" if site else name
    return _BASELINES.get(name, name)


def what_was_found(view: CampaignView) -> str:
    """Return one sentence: whether the goal was reached, and what the best trial gave."""
    objectives, best = view.definition.objectives, view.best
    goals = words.listed([words.aim(o) for o in objectives if o.reach is not None])
    if best is None:
        n = words.count(len(view.history.ended_trials), "trial")
        return f"After {n} none has given outputs that hold every constraint."
    gave = f"gave {words.outputs_shown(best.outputs, objectives)}"
    first = discovery(view)
    if first is not None and first.trial == best.trial:
        return f"The goal, {goals}, was reached: trial {best.n + 1:,} {gave}."
    if first is not None:
        return f"The goal, {goals}, was reached by trial {first.n + 1:,}; the best, trial {best.n + 1:,}, {gave}."
    if goals:
        missed = "has not been reached yet; so far the" if view.status.state == "running" else "was not reached; the"
        return f"The goal, {goals}, {missed} best, trial {best.n + 1:,}, {gave}."
    return f"The best of {words.count(len(view.history.ended_trials), 'trial')}: trial {best.n + 1:,} {gave}."


def discovery(view: CampaignView) -> TrialRow | None:
    """Return the first trial, in the order in which they ended, that reached every goal; None when none did."""
    reach = view.yardstick.reach if view.yardstick else None
    losses = ((row, view.loss(row)) for row in view.history.ended_trials)
    return next((row for row, loss in losses if loss is not None and reach is not None and loss <= reach), None)


def headline(acceleration: Accelerations) -> list[tuple[Clarity, str]]:
    """Return what stands first about acceleration, with what it shows: by trials, and whatever says otherwise."""
    first = acceleration.by["trials"]
    clear: Clarity = "unknown" if first is None else first.clarity
    said: list[tuple[Clarity, str]] = [(clear, how_much_faster(acceleration))]
    others: tuple[tuple[Measure, str], ...] = (("hours", "wall time"), ("cost", "cost"))
    for measure, name in others:
        found = acceleration.by[measure]
        if found is not None and found.clarity not in ("unknown", clear):
            said.append((found.clarity, f"By {name}: {how_much_faster(acceleration, measure)}"))
    return said


def worst_clarity(acceleration: Accelerations) -> Clarity:
    """Return slower if it was slower by any measure, else what is shown by trials."""
    found: list[Clarity] = [each.clarity for each in acceleration.by.values() if each is not None]
    return "slower" if "slower" in found else found[0] if found else "unknown"


def level_said(acceleration: Accelerations) -> str:
    """Return what the level is that the two are compared at."""
    curve, found = acceleration.curve, acceleration.by["trials"]
    if curve is None or found is None or found.level is None:
        return "there is none, since no trial has given outputs that hold every constraint"
    if found.level != curve.reach:
        return "the best that the campaign found, since it reached no goal"
    return "the goal" if curve.level() == curve.reach else "the goal, which the campaign did not reach"


def enhancement_said(acceleration: Accelerations) -> str:
    """Return one sentence about how many more good trials there were; empty where that is not known."""
    _, points = acceleration.enhancements()
    last = points[-1] if points else None
    if last is None or last.factor is None or last.low is None:
        return ""
    high = "any" if last.high is None else words.number(round(last.high, 2))
    return (
        f"Enhancement, the last picture: of its {words.count(last.n, 'trial')} the campaign had {last.found:,} as good"
        f" as the best 5% of the baseline's trials, {words.number(round(last.factor, 2))} times as many as"
        f" {baseline_name(acceleration)} has among as many"
        f" (95% interval {words.number(round(last.low, 2))} to {high})."
    )


def how_much_faster(acceleration: Accelerations, measure: Measure = "trials") -> str:
    """Return one sentence: how much less, or more, effort than the baseline, and how sure that is."""
    found = acceleration.by[measure]
    if found is None or found.factor is None or found.campaign_effort is None or found.baseline_effort is None:
        why = acceleration.why if found is None else "one of the two never reached a common level"
        return f"Nothing can be said about acceleration: {why}."
    name, times = baseline_name(acceleration, measure), words.number(round(found.factor, 2))
    took = _effort(found.campaign_effort, acceleration, measure)
    expected = _effort(found.baseline_effort, acceleration, measure)
    if found.bound == "at least":
        return _at_least(found, acceleration, f"It took {took}", name)
    sure = sureness(found)
    if found.bound == "at most":
        pace = f"at most {times} times its pace ({sure})"
        lead = "It was slower than its baseline: it" if found.clarity == "slower" else "It"
        return f"{lead} did not get there in {took} where {name} is expected to take {expected}, {pace}."
    if found.clarity == "faster":
        return f"It took {took} where {name} is expected to take {expected}: {times} times faster ({sure})."
    lead = "slower than its baseline" if found.clarity == "slower" else "not clearly faster or slower than its baseline"
    return (
        f"It was {lead}: it took {took} where {name} is expected to take {expected}, {times} times its pace ({sure})."
    )


def _at_least(found: Acceleration, acceleration: Accelerations, took: str, name: str) -> str:
    least = words.number(round(found.factor or 0.0, 2) if found.low is None else round(found.low, 2))
    n = len(acceleration.baseline_steps)
    missed = f"{took}; none of the {n:,} trials of {name} got there"
    if acceleration.learns:
        missed = f"{took}; not every campaign of {name} got there"
    if found.clarity != "faster":
        return f"{missed}, too few to say whether it was faster."
    return f"{missed}, which makes it at least {least} times faster (95% confidence)."


def sureness(found: Acceleration) -> str:
    """Return the 95% interval of a factor in words, or why there is none."""
    if found.low is None and found.high is None:
        return "no interval: the baseline was run once"
    low, high = interval(found)
    return f"95% interval {low} to {high}"


def interval(found: Acceleration) -> tuple[str, str]:
    """Return the ends of the 95% interval of a factor in words."""
    low = "0" if found.low is None else words.number(round(found.low, 2))
    return low, "any" if found.high is None else words.number(round(found.high, 2))


def _effort(value: float, acceleration: Accelerations, measure: Measure) -> str:
    if measure == "trials":
        rounded = round(value, 1)
        return words.count(int(rounded), "trial") if rounded == int(rounded) else f"{rounded:,.1f} trials"
    if measure == "hours":
        return words.duration(value * 3600.0)
    return f"{words.number(value)} {acceleration.cost_unit}"


def efforts(found: Acceleration, acceleration: Accelerations) -> tuple[str, str]:
    """Return the campaign's effort to the level and the baseline's expected one, with units; a dash where unknown."""
    pair = (found.campaign_effort, found.baseline_effort)
    mine, its = (words.NONE if value is None else _effort(value, acceleration, found.by) for value in pair)
    return mine, f"more than {its}" if found.bound == "at least" else its
