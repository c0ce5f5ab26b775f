"""Acceleration from ledgers, against numbers worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from homes import propose, search

from renkei.campaign import Campaign
from renkei.home._home import Home, baseline_of
from renkei.model.campaign import Campaign as Definition
from renkei.planning.acceleration import Curve, Pool, Sampled, Step, accelerate
from renkei.report import measure_acceleration, view_campaign
from renkei.report._acceleration import best_so_far

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
