"""Acceleration from ledgers, against numbers worked out by hand."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from homes import propose, search

from renkei.campaign import Campaign
from renkei.home._home import Home, baseline_folder, baseline_of
from renkei.model.campaign import Campaign as Definition
from renkei.planning.acceleration import BestOf, Curve, Pool, Replicates, Sampled, Step, accelerate
from renkei.report import CampaignView, measure_acceleration, view_campaign
from renkei.report._acceleration import best_so_far
from renkei.report._figure_acceleration import draw_acceleration, draw_pace
from renkei.report._figures import draw_progress
from renkei.report._verdict import headline, level_said, worst_clarity

SINGLE = '[baseline]\nplanner = "same"\nsites = "single"\nreplicates = 3'
SITE_S = {"east": 90.0, "west": 36.0}
"""How long a trial takes at a site alone."""
BASELINE = '[baseline]\nplanner = "sobol"\ntrials = 10'


@pytest.fixture
def told(tmp_path: Path, clock, key):
    """Begin a campaign whose trials, and whose baseline's, give these outputs (None: infeasible), seconds apart."""

    def tell(
        definition: Definition,
        own: Sequence[float | dict | None],
        *baselines: Sequence[float | dict | None],
        own_s: float = 36.0,
        baseline_s: float = 18.0,
        alone: Mapping[str, Sequence[Sequence[float | None]]] | None = None,
    ):
        home = Home(tmp_path)
        home.begin(definition, tmp_path)
        directory = home.campaign_directory(definition.name)

        async def one(file: Definition, where: Path, outputs: Sequence[float | dict | None], seconds: float) -> None:
            campaign = Campaign(file, where, key, "", clock)
            for output in outputs:
                trial = propose(campaign)
                clock.time += seconds
                if output is None:
                    campaign.rule_out(trial.trial, "melted")
                else:
                    campaign.observe(trial.trial, output if isinstance(output, dict) else {"y": output})
            await campaign.ledger.close()

        async def main() -> None:
            await one(definition, directory, own, own_s)
            for i, outputs in enumerate(baselines, 1):
                await one(baseline_of(definition, i), directory / f"baseline-{i}", outputs, baseline_s)
            for site, replicates in (alone or {}).items():
                for i, outputs in enumerate(replicates, 1):
                    file = baseline_of(definition, i, site, {""})
                    await one(file, directory / baseline_folder(i, site), outputs, SITE_S[site])

        anyio.run(main)
        return measure_acceleration(view_campaign(home, definition.name))

    return tell


def test_trials_and_hours_are_those_to_the_goal(told) -> None:
    found = told(search(more=f"reach = 1.0\n{BASELINE}"), [5.0, None, 1.0], [3, 1, 4, None, 9, 2, 0.5, 3, 5, 8])
    trials, hours = found.by["trials"], found.by["hours"]
    assert found.baseline == "sobol"
    assert (trials.campaign_effort, trials.baseline_effort) == (3.0, 5.0)  # 2 of 10 are at 1.0 or better
    assert trials.factor == pytest.approx(5 / 3)
    assert hours.campaign_effort == pytest.approx(3 * 0.01)
    assert hours.baseline_effort == pytest.approx(5 * 0.005)
    assert hours.factor == pytest.approx(5 / 6)
    steps = [Step(loss) for loss in (3, 1, 4, None, 9, 2, 0.5, 3, 5, 8)]
    same = accelerate(Curve([Step(5.0), Step(None), Step(1.0)], 1.0), Sampled(steps))
    assert (trials.low, trials.high) == (same.low, same.high)


def test_all_baseline_campaigns_are_one_sample(told) -> None:
    found = told(search(more=f"reach = 1.0\n{BASELINE}"), [1.0], [2, 2, 1], [2, 2, 2, 2, 2])
    assert found.by["trials"].baseline_effort == 8.0
    assert len(found.baseline_steps) == 8


def test_the_best_found_is_the_level_where_the_goal_was_not_reached(told) -> None:
    found = told(search(more=f"reach = 0.0\n{BASELINE}"), [5.0, 2.0], [1, 3, 2, 4])
    assert (found.by["trials"].level, found.by["trials"].baseline_effort) == (2.0, 2.0)


def test_a_broken_constraint_is_no_loss(told) -> None:
    more = f"reach = 1.0\n{BASELINE}\n[[constraint]]\noutput = 'z'\nupper = 1.0"
    own = [{"y": 0.0, "z": 2.0}, {"y": 0.5, "z": 1.0}]
    found = told(search(more=more), own, [{"y": 0.0, "z": 9.0}, {"y": 0.0, "z": 0.0}])
    assert [step.loss for step in found.curve.steps] == [None, 0.5]
    assert found.by["trials"].baseline_effort == 2.0


def test_a_pool_that_the_baseline_measured_whole_is_compared_exactly(told, tmp_path: Path) -> None:
    (tmp_path / "pool.csv").write_text("x\n0.1\n0.2\n0.3\n0.4\n0.5\n")
    from homes import SEARCH

    from renkei.model.campaign_file import parse_campaign

    space = f'pool = "{tmp_path / "pool.csv"}"'
    text = SEARCH.format(name="pool", more=f"reach = 1.0\n{BASELINE}")
    text = text.replace('x = { type = "real", low = 0.0, high = 1.0 }', space)
    found = told(parse_campaign(text), [1.0], [4, 3, 1, 2, 0.5])
    assert found.is_exact
    exact = accelerate(Curve([Step(1.0)], 1.0), Pool([4, 3, 1, 2, 0.5]))
    assert found.by["trials"] == exact
    assert found.by["trials"].baseline_effort == pytest.approx(6 / 3)


def test_a_pool_of_which_a_point_was_not_measured_is_sampled(told, tmp_path: Path) -> None:
    (tmp_path / "pool.csv").write_text("x\n0.1\n0.2\n0.3\n0.4\n0.5\n")
    found = told(search("pool", f"reach = 1.0\n{BASELINE}", f'pool = "{tmp_path / "pool.csv"}"'), [1.0], [4, 3, 1, 2])
    assert not found.is_exact
    assert found.by["trials"].baseline_effort == 4.0


def test_without_a_baseline_nothing_is_said(told) -> None:
    found = told(search(more="reach = 1.0"), [5.0, 1.0])
    said = found.to_json()
    assert said["baseline"] is None
    assert all(said[by]["factor"] is None and said[by]["ci95"] == [None, None] for by in ("trials", "hours", "cost"))
    assert said["why"] == "there is no baseline"


def test_several_objectives_are_one_distance(told) -> None:
    more = f"reach = 1.0\n{BASELINE}\n[[objective]]\noutput = 'z'\ngoal = 'maximize'\nreach = 10.0"
    own = [{"y": 1.0, "z": 5.0}, {"y": 0.9, "z": 10.0}]
    found = told(search(more=more), own, [{"y": 3.0, "z": 10.0}, {"y": 1.0, "z": 0.0}, {"y": 1.0, "z": 10.0}])
    assert found.curve.reach == 0.0
    assert [step.reaches(0.0) for step in found.curve.steps] == [False, True]
    assert found.by["trials"].baseline_effort == 3.0


def test_no_cost_without_charges(told) -> None:
    found = told(search(more=f"reach = 1.0\n{BASELINE}"), [1.0], [1.0])
    assert found.by["cost"] is None
    assert found.to_json()["cost"]["factor"] is None
    assert "no cost" in found.why


def test_cost_is_what_the_runs_of_trials_were_charged(view) -> None:
    found = measure_acceleration(view)
    assert found.cost_unit == "instrument-hour"
    charged = sum(charge.value for site in view.sites for charge in site.charges)
    assert sum(step.cost for step in found.curve.steps) == pytest.approx(charged)


def test_best_so_far_never_rises() -> None:
    assert best_so_far([None, 3.0, 5.0, None, 1.0]) == [None, 3.0, 3.0, 3.0, 1.0]


EAST = [[9, 8, 1.0], [9, 8, 7, 0.5], [9, 0.9]]
WEST = [[9, 8, 7, 6, 1.0], [9, 8, 7, 1.0], [9, 8, 7, 6, 5, 0.2]]


def test_the_best_single_site_is_the_yardstick_by_each_measure(told) -> None:
    found = told(search(more=f"reach = 1.0\n{SINGLE}"), [5.0, 1.0], own_s=18.0, alone={"east": EAST, "west": WEST})
    assert (found.baseline, found.learns, found.n_campaigns, found.is_shared) == ("best single site", True, 6, False)
    assert (found.best_site["trials"], found.best_site["hours"]) == ("east", "west")
    assert found.by["trials"].factor == pytest.approx(3 / 2)
    assert found.by["hours"].factor == pytest.approx(5 * 36 / (2 * 18))
    assert found.single["west"]["trials"].factor == pytest.approx(5 / 2)
    assert found.single["east"]["hours"].factor == pytest.approx(3 * 90 / (2 * 18))
    assert found.against == BestOf({site: Replicates(each.curves) for site, each in found.against.baselines.items()})
    assert [len(each.curves) for each in found.against.baselines.values()] == [3, 3]


def test_a_joint_campaign_that_is_slower_than_a_site_alone_is_told_so(told) -> None:
    own = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 1.0]
    found = told(search(more=f"reach = 1.0\n{SINGLE}"), own, own_s=72.0, alone={"east": EAST, "west": WEST})
    assert found.by["trials"].clarity == found.by["hours"].clarity == "slower"
    assert worst_clarity(found) == "slower"
    (said,) = headline(found)
    assert said[0] == "slower"
    assert said[1].startswith("It was slower than its baseline: it took 8 trials where the best single site (east)")
    factors = [each.factor for each in found.curves()["trials"]]
    assert max(factors) <= 1.0
    assert max(factors[2:]) < 1.0


def test_what_is_slower_by_the_clock_stands_at_the_head_beside_what_is_faster_by_trials(told) -> None:
    found = told(search(more=f"reach = 1.0\n{SINGLE}"), [1.0], own_s=720.0, alone={"east": EAST, "west": WEST})
    assert [clarity for clarity, _ in headline(found)] == ["faster", "slower"]
    assert headline(found)[1][1].startswith("By wall time: It was slower than its baseline: it took 12 min where")
    assert worst_clarity(found) == "slower"


def test_a_goal_that_only_the_baseline_reached_is_told(told) -> None:
    found = told(search(more=f"reach = 1.0\n{BASELINE}"), [5.0] * 12, [1, 3, 1, 4, 1, 2, 1, 5, 1, 8])
    assert (found.by["trials"].level, found.by["trials"].bound) == (1.0, "at most")
    assert level_said(found) == "the goal, which the campaign did not reach"
    assert "It was slower than its baseline: it did not get there in 12 trials" in headline(found)[0][1]


def test_the_whole_curve_enhancement_and_progress_are_in_the_summary(told) -> None:
    blind = [float(i) for i in range(1, 41)]
    found = told(search(more=f"reach = 1.0\n{BASELINE}"), [30.0, 2.0, 9.0, 1.0], blind)
    said = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(said["curve"]) == {"trials", "hours"}
    levels = [each["level"] for each in said["curve"]["trials"]]
    assert levels == sorted(levels, reverse=True)
    assert (levels[0], levels[-1]) == (20.0, 1.0)
    assert said["curve"]["trials"][-1] == said["trials"]
    assert said["enhancement"]["level"] == 2.0
    assert said["enhancement"]["points"][-1] | {"ci95": []} == {
        "n": 4, "found": 2, "expected": 0.2, "factor": 10.0, "ci95": []
    }  # fmt: skip
    assert said["progress"]["trials"] == [1, 2, 3, 4]
    assert said["progress"]["campaign"] == [30.0, 2.0, 2.0, 1.0]
    assert said["progress"]["baselines"][""]["median"][0] == 20.0
    assert all(
        low <= high for low, high in zip(*(said["progress"]["baselines"][""][e] for e in ("low", "high")), strict=True)
    )


def test_a_baseline_that_learns_has_bands_over_its_campaigns_and_no_enhancement(told) -> None:
    found = told(search(more=f"reach = 1.0\n{SINGLE}"), [5.0, 3.0, 1.0], alone={"east": EAST, "west": WEST})
    said = found.to_json()
    assert said["enhancement"] == {"level": None, "points": []}
    assert said["progress"]["baselines"]["east"] == {
        "low": [9.0, 0.9, 0.9], "median": [9.0, 8.0, 1.0], "high": [9.0, 8.0, 7.0]
    }  # fmt: skip
    assert said["single_sites"]["west"]["trials"]["factor"] == pytest.approx(5 / 3)


def test_campaigns_that_were_at_work_at_the_same_time_have_shared_their_sites(view: CampaignView) -> None:
    assert not measure_acceleration(view).is_shared
    assert measure_acceleration(replace(view, baselines=(view.history,))).is_shared
    assert measure_acceleration(replace(view, baselines=(view.history,))).to_json()["shared_sites"] is True


def test_trials_at_sources_that_do_not_count_reach_nothing(view: CampaignView) -> None:
    assert view.best is not None
    assert view.loss(view.best) is not None
    row = copy.copy(view.best)
    row.counts = False
    assert view.loss(row) is None


def test_figures_show_the_curve_and_the_race_and_name_what_is_slower(told, view: CampaignView) -> None:
    found = told(search(more=f"reach = 1.0\n{SINGLE}"), [9.0, 8.0, 5.0, 1.0], alone={"east": EAST, "west": WEST})
    levels, race = draw_acceleration(view, found), draw_pace(view, found)
    for part in ("acceleration by trials", "acceleration by wall time", "slower than its baseline", "easy to hard"):
        assert part in levels
    assert "enhancement" not in levels.split("</text>", 1)[1]
    for part in ("east alone", "west alone", "the campaign", "wall time [min]"):
        assert part in race
    assert "east alone (median)" in draw_progress(view, found)


def test_figures_of_a_blind_baseline_show_enhancement_and_no_race(told, view: CampaignView) -> None:
    found = told(search(more=f"reach = 1.0\n{BASELINE}"), [30.0, 1.0], [float(i) for i in range(1, 41)])
    assert "enhancement: trials with" in draw_acceleration(view, found)
    assert draw_pace(view, found) == ""
    nothing = measure_acceleration(replace(view, baselines=(), definition=replace(view.definition, baseline=None)))
    assert draw_acceleration(view, nothing) == draw_pace(view, nothing) == ""
