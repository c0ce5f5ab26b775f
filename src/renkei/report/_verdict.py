"""The verdict: what a campaign found and how much faster than its baseline, in two sentences."""

from renkei.campaign import TrialRow
from renkei.planning.acceleration import Acceleration, Measure
from renkei.report import _words as words
from renkei.report._acceleration import Accelerations
from renkei.report._view import CampaignView

_BASELINES = {"sobol": "Sobol sampling", "random": "random search"}


def baseline_name(acceleration: Accelerations, measure: Measure = "trials") -> str:
    """Return what people call the baseline."""
    if acceleration.is_exact and measure == "trials":
        return "random drawing from the pool"
    return _BASELINES.get(acceleration.baseline or "", acceleration.baseline or "no baseline")


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


def how_much_faster(acceleration: Accelerations, measure: Measure = "trials") -> str:
    """Return one sentence: how much less, or more, effort than the baseline, and how sure that is."""
    found = acceleration.by[measure]
    if found is None or found.factor is None or found.campaign_effort is None or found.baseline_effort is None:
        why = acceleration.why if found is None else "one of the two never reached a common level"
        return f"Nothing can be said about acceleration: {why}."
    name, times = baseline_name(acceleration, measure), words.number(round(found.factor, 2))
    took = _effort(found.campaign_effort, acceleration, measure)
    expected = _effort(found.baseline_effort, acceleration, measure)
    n = len(acceleration.baseline_steps)
    if found.bound == "at least":
        missed = f"It took {took}; none of the {n:,} trials of {name} got there"
        if found.factor < 1:
            return f"{missed}, too few to say whether it was faster."
        return f"{missed}, which makes it at least {times} times faster (95% confidence)."
    low, high = interval(found)
    said = f"It took {took} where {name} is expected to take {expected}"
    sure = f"95% interval {low} to {high}"
    if found.factor < 1:
        unclear = found.high is not None and found.high >= 1
        tail = ", so this may be chance" if unclear else ""
        return f"It was slower than its baseline: {said.removeprefix('It ')}, {times} times its pace ({sure}){tail}."
    unclear = found.low is not None and found.low < 1
    return f"{said}: {times} times faster ({sure}){', which is not clearly faster' if unclear else ''}."


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
