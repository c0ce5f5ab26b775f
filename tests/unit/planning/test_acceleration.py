import json
import math
import random
from itertools import pairwise

import pytest
from scipy import stats

from renkei.errors import UsageError
from renkei.planning import (
    Acceleration,
    Curve,
    Pool,
    Replicates,
    Sampled,
    Step,
    accelerate,
    draws_interval,
    enhancement,
    expected_draws,
)


def curve(*losses: float | None, reach: float | None = None, hours: float = 2.0) -> Curve:
    return Curve([Step(loss, hours, cost=10.0) for loss in losses], reach)


def trials(n: int, k: int) -> Sampled:
    """Return a baseline of n trials of which k reach level 0."""
    return Sampled([Step(0.0 if i < k else 1.0, hours=3.0, cost=20.0) for i in range(n)])


def test_the_level_is_what_the_campaign_is_after_if_it_got_there():
    assert curve(3.0, 1.0, 0.5, reach=1.0).level() == 1.0
    assert curve(3.0, 2.0, reach=1.0).level() == 2.0
    assert curve(None, 3.0, math.nan, 2.5).level() == 2.5
    assert curve(None, reach=1.0).level() is None


def test_effort_counts_every_trial_up_to_the_first_that_reaches_the_level():
    found = curve(5.0, None, 1.0, 0.0)
    assert found.effort_to(1.0) == 3.0
    assert found.effort_to(1.0, "hours") == 6.0
    assert found.effort_to(1.0, "cost") == 30.0
    assert found.effort_to(-1.0) is None


@pytest.mark.parametrize(("n_pool", "n_good"), [(10, 1), (10, 3), (7, 7), (25, 4)])
def test_draws_from_a_pool_follow_the_negative_hypergeometric_distribution(n_pool: int, n_good: int):
    # P(first good one at draw m), from counting arrangements.
    chance = [math.comb(n_pool - m, n_good - 1) / math.comb(n_pool, n_good) for m in range(1, n_pool - n_good + 2)]
    assert sum(chance) == pytest.approx(1.0)
    mean = sum(m * p for m, p in enumerate(chance, 1))
    assert expected_draws(n_pool, n_good) == pytest.approx(mean) == (n_pool + 1) / (n_good + 1)
    for level in (0.5, 0.8, 0.95):
        low, high = draws_interval(n_pool, n_good, level)
        tail = (1 - level) / 2
        assert sum(chance[: low - 1]) < tail <= sum(chance[:low]) + 1e-12
        assert sum(chance[: high - 1]) < 1 - tail <= sum(chance[:high]) + 1e-12


@pytest.mark.parametrize(("n_pool", "n_good"), [(5, 0), (5, 6), (0, 0)])
def test_a_pool_without_anything_to_find_is_refused(n_pool: int, n_good: int):
    for call in (expected_draws, draws_interval):
        with pytest.raises(UsageError):
            call(n_pool, n_good)


def test_a_pool_gives_the_exact_factor():
    losses = [float(i) for i in range(99)] + [None]
    found = accelerate(curve(50.0, 7.0, 0.0), Pool(losses))
    assert (found.factor, found.bound, found.level) == (pytest.approx(101 / 2 / 3), "estimate", 0.0)
    assert (found.low, found.high) == (3 / 3, 98 / 3)
    reached = accelerate(curve(50.0, 7.0, 0.0, reach=9.0), Pool(losses))
    assert reached.factor == pytest.approx(101 / 11 / 2)


def test_a_pool_counts_hours_and_cost_by_what_a_draw_takes_and_says_nothing_where_it_has_no_point():
    with pytest.raises(UsageError, match="takes in hours is not known"):
        accelerate(curve(0.0), Pool([0.0]), by="hours")
    effort = Pool([0.0, 1.0, 1.0], hours=0.5, cost=3.0)
    assert [effort.effort_to(0.0, by).expected for by in ("trials", "hours", "cost")] == [2.0, 1.0, 6.0]
    assert (effort.effort_to(0.0, "cost").low, effort.effort_to(0.0, "cost").high) == (3.0, 9.0)
    assert accelerate(curve(-1.0), Pool([0.0])).bound == "unknown"


def test_a_sampled_baseline_needs_one_over_the_probability_of_a_hit():
    found = accelerate(curve(1.0, 1.0, 1.0, 0.0), trials(200, 10))
    assert found.factor == pytest.approx(20 / 4)
    assert (found.campaign_effort, found.baseline_effort) == (4.0, 20.0)
    # Jeffreys' interval: quantiles of Beta(k + 1/2, n - k + 1/2).
    assert found.low == pytest.approx(1 / stats.beta.ppf(0.975, 10.5, 190.5) / 4)
    assert found.high == pytest.approx(1 / stats.beta.ppf(0.025, 10.5, 190.5) / 4)


def test_hours_and_cost_are_compared_by_what_a_hit_costs():
    campaign = curve(1.0, 0.0)
    assert accelerate(campaign, trials(100, 5), by="hours").factor == pytest.approx(20 * 3.0 / 4.0)
    assert accelerate(campaign, trials(100, 5), by="cost").factor == pytest.approx(20 * 20.0 / 20.0)


def test_a_baseline_that_never_hits_gives_a_lower_bound():
    found = accelerate(curve(1.0, 0.0), trials(100, 0))
    # The rule of three: with 95% confidence a hit takes at least about 100 / 3 trials.
    assert found.bound == "at least"
    assert found.factor == found.low == pytest.approx(1 / (1 - 0.05 ** (1 / 100)) / 2)
    assert found.high is None
    assert found.verdict("sobol") == "at least 16.9 times fewer trials than sobol, which never reached the level"
    assert accelerate(curve(*[1.0] * 50, 0.0), trials(100, 0)).verdict("sobol").startswith("not shown to be faster")


def test_a_campaign_that_never_hits_gives_an_upper_bound():
    found = accelerate(curve(1.0, 1.0, 1.0, 1.0), trials(20, 10), level=0.0)
    assert (found.factor, found.bound, found.low) == (0.5, "at most", None)
    assert found.high is not None
    assert found.verdict("sobol") == "did not reach the level: a factor of at most 0.50 against sobol"


@pytest.mark.parametrize(
    ("campaign", "baseline", "level"),
    [
        (curve(1.0), trials(20, 0), 0.0),
        (curve(None), trials(20, 5), None),
        (curve(), trials(20, 5), None),
        (curve(0.0), Sampled([]), None),
        (curve(0.0), Replicates([]), None),
        (curve(0.0), Replicates([curve()]), None),
    ],
)
def test_where_nothing_can_be_compared_nothing_is_claimed(campaign: Curve, baseline: Sampled, level: float | None):
    found = accelerate(campaign, baseline, level)
    assert (found.factor, found.low, found.high, found.bound) == (None, None, None, "unknown")
    assert found.verdict("sobol").startswith("no comparison")


def test_hours_that_were_not_recorded_give_no_factor():
    assert accelerate(curve(0.0, hours=0.0), trials(20, 5), by="hours").factor is None


def test_a_learning_baseline_is_the_mean_of_its_campaigns():
    baseline = Replicates([curve(*[1.0] * n, 0.0) for n in (9, 11, 19, 21)])
    found = accelerate(curve(1.0, 1.0, 1.0, 1.0, 0.0), baseline)
    assert found.factor == pytest.approx(16 / 5)
    assert found.bound == "estimate"
    assert 10 / 5 <= found.low < 16 / 5 < found.high <= 22 / 5  # pyright: ignore[reportOptionalOperand]
    single = accelerate(curve(0.0), Replicates([curve(1.0, 0.0)]))
    assert (single.factor, single.low, single.high) == (2.0, None, None)


def test_learning_campaigns_that_did_not_get_there_make_a_lower_bound():
    baseline = Replicates([curve(1.0, 0.0), curve(1.0, 1.0, 1.0, 1.0)])
    found = accelerate(curve(0.0), baseline)
    assert (found.factor, found.bound, found.high) == (3.0, "at least", None)
    assert accelerate(curve(1.0), baseline, level=0.0).bound == "unknown"


def test_the_interval_of_a_sampled_baseline_covers_the_truth_as_often_as_it_says():
    chance, p, n = random.Random(1), 0.06, 150
    covered = 0
    for _ in range(400):
        k = sum(chance.random() < p for _ in range(n))
        found = accelerate(curve(0.0), trials(n, k))
        assert found.low is not None
        covered += found.low <= 1 / p <= (found.high or math.inf)
    assert 0.92 <= covered / 400 <= 0.98


def test_a_slower_campaign_is_called_slower():
    found = accelerate(curve(*[1.0] * 9, 0.0), trials(100, 25))
    assert found.factor == pytest.approx(0.4)
    assert found.verdict("random").startswith(
        "slower than its baseline: 0.40 times the pace of random (95% interval 0."
    )


def test_a_faster_campaign_is_called_faster():
    text = accelerate(curve(1.0, 1.0, 0.0), trials(1000, 50)).verdict("sobol")
    assert text == "6.7 times fewer trials than sobol (95% interval 5.1 to 8.8)"
    assert "less cost" in accelerate(curve(0.0), trials(100, 50), by="cost").verdict()
    assert "fewer hours" in accelerate(curve(0.0), trials(100, 50), by="hours").verdict()


def test_a_factor_whose_interval_spans_one_is_not_called_clear():
    text = accelerate(curve(1.0, 1.0, 1.0, 0.0), trials(20, 4)).verdict("sobol")
    assert text.startswith("1.2 times fewer trials than sobol, not clearly faster (95% interval 0.")


def test_json_holds_finite_numbers_or_null():
    found = accelerate(curve(1.0, 0.0), trials(100, 10)).to_json()
    assert found["ci95"][0] < found["factor"] < found["ci95"][1]
    assert found | {"ci95": []} == {
        "factor": 5.0, "ci95": [], "bound": "estimate", "level": 0.0, "by": "trials",
        "campaign_effort": 2.0, "baseline_effort": 10.0,
    }  # fmt: skip
    odd = Acceleration(math.inf, math.nan, None, -math.inf, "unknown", 1.0, None).to_json()
    assert json.loads(json.dumps(odd, allow_nan=False))["ci95"] == [None, None]
    assert odd["factor"] is odd["level"] is None


def test_enhancement_is_the_share_found_over_the_share_tried():
    assert enhancement(n_found=5, n_trials=20, n_pool=200, n_good=10) == pytest.approx(5.0)
    with pytest.raises(UsageError):
        enhancement(0, 0, 10, 1)
    with pytest.raises(UsageError):
        enhancement(0, 11, 10, 1)


def test_a_stricter_level_never_takes_a_baseline_less():
    pool = Pool([float(i) for i in range(50)])
    efforts = [pool.effort_to(level) for level in range(49, -1, -1)]
    assert all(a and b and a.expected < b.expected for a, b in pairwise(efforts))
