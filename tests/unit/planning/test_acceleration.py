import json
import math
import random
from itertools import pairwise

import pytest
from scipy import stats

from renkei.errors import UsageError
from renkei.planning import (
    Acceleration,
    BestOf,
    Curve,
    Pool,
    Replicates,
    Sampled,
    Step,
    accelerate,
    accelerate_replicates,
    acceleration_curve,
    draws_interval,
    enhancement,
    enhancement_curve,
    expected_draws,
    good_level,
)
from renkei.planning._statistics import expanded_interval, resampled_means, student_quantile
from renkei.planning.acceleration import common_level


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
    assert found.verdict("sobol") == "at least 16.9 times fewer trials than sobol, which did not reach the level"
    assert accelerate(curve(*[1.0] * 50, 0.0), trials(100, 0)).verdict("sobol").startswith("not shown to be faster")


def test_a_campaign_that_never_hits_gives_an_upper_bound():
    found = accelerate(curve(1.0, 1.0, 1.0, 1.0), trials(20, 10), level=0.0)
    assert (found.factor, found.bound, found.low) == (0.5, "at most", None)
    assert found.high is not None
    assert found.verdict("sobol") == (
        "slower than its baseline: did not reach the level: a factor of at most 0.50 against sobol"
    )
    unclear = accelerate(curve(1.0, 1.0), trials(20, 4), level=0.0)
    assert unclear.verdict("sobol") == "did not reach the level: a factor of at most 2.5 against sobol"


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
    assert text.startswith("not clearly faster or slower: 1.2 times fewer trials than sobol (95% interval 0.")
    text = accelerate(curve(*[1.0] * 5, 0.0), trials(20, 4)).verdict("sobol")
    assert text.startswith("not clearly slower or faster: 0.83 times the pace of sobol (95% interval 0.")


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


# ---- the best of several ----------------------------------------------------------------------------------------


def alone(*n_trials: int, hours: float = 2.0) -> Replicates:
    """Return campaigns that reach level 0 with their last trial."""
    return Replicates([curve(*[1.0] * (n - 1), 0.0, hours=hours) for n in n_trials])


def test_the_best_of_several_is_the_one_with_the_least_effort_by_each_measure():
    sites = BestOf({"east": alone(8, 10, 12, hours=5.0), "west": alone(18, 20, 22, hours=1.0)})
    assert (sites.chosen(0.0), sites.chosen(0.0, "hours")) == ("east", "west")
    found = accelerate(curve(1.0, 1.0, 0.0), sites)
    assert found.factor == pytest.approx(10 / 3)
    hours = accelerate(curve(1.0, 1.0, 0.0), sites, by="hours")
    assert hours.factor == pytest.approx(20 / 6)
    assert sites.effort_to(-1.0) == alone(8, 10, 12).effort_to(-1.0)  # nobody got there: the least bound
    assert sites.chosen(0.0, "cost") == "east"


def test_the_best_of_several_has_the_interval_of_the_chosen_one_and_draws_in_which_the_least_counts():
    east, west = alone(8, 10, 12, 14), alone(13, 9, 15, 8)
    sites = BestOf({"east": east, "west": west})
    assert sites.effort_to(0.0) == east.effort_to(0.0)
    draws = sites.draws(0.0)
    assert draws == [min(pair) for pair in zip(east.draws(0.0), west.draws(0.0), strict=True)]
    assert sum(draws) < min(sum(east.draws(0.0)), sum(west.draws(0.0)))


def test_a_site_that_never_got_there_is_not_the_best_once_it_took_longer():
    never = Replicates([curve(*[1.0] * 30)])
    sites = BestOf({"east": never, "west": alone(20, 20)})
    assert sites.effort_to(0.0) == alone(20, 20).effort_to(0.0)
    early = Replicates([curve(1.0, 1.0)])
    assert accelerate(curve(0.0), BestOf({"east": early, "west": alone(20, 20)})).bound == "at least"
    assert accelerate(curve(0.0), BestOf({"east": Replicates([])})).bound == "unknown"


# ---- the interval of few campaigns ---------------------------------------------------------------------------------


def test_student_quantiles_are_those_of_the_tables():
    for freedom in (1, 2, 4, 9, 30):
        assert student_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)
    assert student_quantile(0.5, 5) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("n", [4, 8])
def test_the_expanded_bootstrap_covers_the_mean_of_few_values_where_plain_percentiles_do_not(n: int):
    chance, covered, plainly = random.Random(3), 0, 0
    for _ in range(300):
        means = resampled_means([chance.gauss(10.0, 2.0) for _ in range(n)])
        for interval, is_plain in ((expanded_interval(means, n), False), (expanded_interval(means), True)):
            hit = interval[0] <= 10.0 <= interval[1]
            plainly, covered = plainly + (hit and is_plain), covered + (hit and not is_plain)
    assert plainly / 300 < 0.92
    assert covered / 300 > plainly / 300 + 0.04
    assert covered / 300 > 0.85


def test_a_single_campaign_has_no_interval_and_shows_nothing_clearly():
    found = accelerate(curve(0.0), alone(9))
    assert (found.factor, found.low, found.high, found.clarity) == (9.0, None, None, "unclear")
    assert found.verdict("sobol").endswith("9.0 times fewer trials than sobol (no interval: it was run once)")


# ---- both sides with their luck ------------------------------------------------------------------------------------


def test_several_campaigns_are_compared_by_their_mean_with_the_luck_of_both_in_the_interval():
    campaigns = [curve(*[1.0] * n, 0.0) for n in (3, 4, 5, 6)]
    found = accelerate_replicates(campaigns, alone(20, 22, 24, 30), 0.0)
    assert found.factor == pytest.approx(24 / 5.5)
    one = accelerate(curve(*[1.0] * 4, 0.0), alone(20, 22, 24, 30))
    assert found.low is not None
    assert found.high is not None
    assert one.low is not None
    assert found.low < found.factor < found.high
    assert 20 / 7 <= found.low < one.low * 5 / 5.5
    hours = accelerate_replicates(campaigns, alone(20, 22, 24, 30, hours=4.0), 0.0, "hours")
    assert hours.factor == pytest.approx(2 * 24 / 5.5)


def test_campaigns_that_missed_the_level_give_an_upper_bound():
    missed = accelerate_replicates([curve(0.0), curve(1.0, 1.0, 1.0)], alone(4, 6), 0.0)
    assert (missed.bound, missed.low, missed.factor) == ("at most", None, 2.5)
    assert accelerate_replicates([curve(1.0)], trials(20, 0), 0.0).bound == "unknown"
    assert accelerate_replicates([], trials(20, 3), 0.0).bound == "unknown"


def test_the_interval_of_several_campaigns_covers_the_true_ratio_as_often_as_it_says():
    chance, covered, p = random.Random(5), 0, 0.05
    for _ in range(100):
        k = sum(chance.random() < p for _ in range(800))
        efforts = [max(1, round(chance.gauss(10.0, 3.0))) for _ in range(8)]
        found = accelerate_replicates([curve(*[1.0] * (n - 1), 0.0) for n in efforts], trials(800, k), 0.0)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 2.0 <= found.high
    assert covered / 100 > 0.88


# ---- the whole curve -----------------------------------------------------------------------------------------------


def test_the_curve_goes_from_easy_levels_to_the_goal_and_says_the_same_as_single_levels():
    losses = [float(i) for i in range(100)]
    campaign = curve(70.0, 30.0, 10.0, 2.0, reach=5.0)
    found = acceleration_curve(campaign, Pool(losses))
    levels = [each.level for each in found]
    assert levels == sorted(levels, reverse=True)  # pyright: ignore[reportArgumentType]
    assert levels[0] == 49.0
    assert levels[-1] == 5.0
    assert all(each == accelerate(campaign, Pool(losses), each.level) for each in found)
    assert found[-1].factor == pytest.approx(101 / 7 / 4)


def test_the_curve_ends_at_the_best_of_both_where_nobody_reached_the_goal():
    ahead = acceleration_curve(curve(3.0, 0.5, reach=0.0), Sampled([Step(float(i)) for i in range(1, 40)]))
    assert (ahead[-1].level, ahead[-1].bound) == (0.5, "at least")
    behind = acceleration_curve(curve(30.0, 9.0), Sampled([Step(float(i)) for i in range(1, 40)]))
    assert (behind[-1].level, behind[-1].bound) == (1.0, "at most")
    assert [each.bound for each in behind if each.level is not None and each.level >= 9.0] == ["estimate"] * sum(
        each.level is not None and each.level >= 9.0 for each in behind
    )
    assert acceleration_curve(curve(), Sampled([])) == []


def test_the_curve_of_a_campaign_that_is_no_faster_than_its_baseline_is_about_one():
    chance = random.Random(11)
    blind = Sampled([Step(chance.random()) for _ in range(1000)])
    for level in (0.5, 0.2):
        factors = [
            accelerate(curve(*[chance.random() for _ in range(60)]), blind, level).factor or 0.0 for _ in range(300)
        ]
        mean_effort = sum(1 / factor for factor in factors) / 300
        assert mean_effort == pytest.approx(1.0, abs=0.15)


def test_levels_of_learning_campaigns_are_those_by_which_they_surpassed_themselves():
    baseline = Replicates([curve(5.0, 6.0, 3.0, None, 1.0), curve(None, 4.0, 2.0, 2.0)])
    assert baseline.levels() == [5.0, 4.0, 3.0, 2.0, 1.0]
    many = Replicates([curve(*[float(i) for i in range(200, 0, -1)])])
    assert len(many.levels()) <= 20
    assert (many.levels()[0], many.levels()[-1]) == (200.0, 1.0)


def test_a_goal_that_the_campaign_missed_and_its_baseline_does_not_is_what_they_are_compared_at():
    campaign = curve(*[1.0] * 10, reach=0.0)
    assert common_level(campaign, trials(100, 20)) == 0.0
    found = accelerate(campaign, trials(100, 20))
    assert (found.level, found.bound, found.factor, found.clarity) == (0.0, "at most", 0.5, "slower")
    assert common_level(campaign, trials(100, 5)) == 1.0  # expected to take longer than the campaign did
    assert common_level(curve(1.0, 0.0, reach=0.0), trials(100, 20)) == 0.0


# ---- enhancement ---------------------------------------------------------------------------------------------------


def test_the_good_level_is_reached_by_one_trial_in_twenty():
    assert good_level([float(i) for i in range(100)]) == 4.0
    assert good_level([None] * 39 + [3.0]) is None
    assert good_level([None, 3.0]) == 3.0
    assert good_level([]) is None


def test_enhancement_counts_good_trials_against_those_of_as_many_of_the_baseline():
    campaign = curve(50.0, 3.0, 60.0, 1.0, 2.0)
    points = enhancement_curve(campaign, Pool([float(i) for i in range(100)]), 4.0)
    assert [each.n for each in points] == [1, 2, 3, 4, 5]
    assert [each.found for each in points] == [0, 1, 1, 2, 3]
    assert [each.factor for each in points] == [
        pytest.approx(enhancement(found, n, 100, 5)) for n, found in zip((1, 2, 3, 4, 5), (0, 1, 1, 2, 3), strict=True)
    ]
    sampled = enhancement_curve(campaign, trials(100, 20), 0.0)[-1]
    assert (sampled.found, sampled.expected, sampled.factor) == (0, 1.0, 0.0)
    low, high = json.loads(json.dumps(sampled.to_json(), allow_nan=False))["ci95"]
    assert (low, sampled.clarity) == (0.0, "unclear")  # none found where one is expected is nothing unusual
    assert high > 3.0
    none = enhancement_curve(curve(*[1.0] * 60), trials(100, 20), 0.0)
    assert [each.clarity for each in none] == ["unclear" if each.n < 23 else "slower" for each in none]
    assert enhancement_curve(curve(*[0.0] * 5), trials(100, 20), 0.0)[-1].clarity == "faster"
    learning = Replicates([curve(1.0, 0.0, 0.0), curve(1.0, 1.0, 0.0), curve(0.0)])
    assert enhancement_curve(curve(0.0, 1.0, 0.0), learning, 0.0)[-1].factor == pytest.approx(2 / 1.5)
    assert enhancement_curve(curve(0.0), Sampled([]), 0.0) == []


@pytest.mark.parametrize(("n_pool", "n_good", "n"), [(20, 3, 5), (50, 10, 20), (9, 8, 4), (30, 1, 1)])
def test_hits_in_draws_from_a_pool_follow_the_hypergeometric_distribution(n_pool: int, n_good: int, n: int):
    hits = Pool([float(i) for i in range(n_pool)]).hits(n_good - 1.0, n)
    theirs = stats.hypergeom(n_pool, n_good, n)
    assert hits is not None
    assert hits.expected == pytest.approx(theirs.mean())
    assert (hits.low, hits.high) == (theirs.ppf(0.025), theirs.ppf(0.975))


# ---- bands ---------------------------------------------------------------------------------------------------------


def test_the_band_of_a_pool_is_that_of_random_orders():
    chance, losses = random.Random(2), [float(i) for i in range(40)]
    lowest = sorted(min(chance.sample(losses, 7)) for _ in range(4000))
    low, middle, high = Pool(losses).band(7)
    assert (low, middle) == (lowest[100], lowest[2000])
    assert high == pytest.approx(lowest[3900], abs=1.0)
    assert Pool(losses).band(40) == Pool(losses).band(99) == (0.0, 0.0, 0.0)


def test_the_band_of_campaigns_that_learn_goes_from_the_worst_to_the_best_and_keeps_what_was_found():
    baseline = Replicates([curve(9.0, 4.0, 7.0), curve(None, 6.0), curve(8.0, 8.0, 1.0)])
    assert [baseline.band(n) for n in (1, 2, 3, 9)] == [
        (8.0, 9.0, None), (4.0, 6.0, 8.0), (1.0, 4.0, 6.0), (1.0, 4.0, 6.0)
    ]  # fmt: skip
    assert Replicates([curve()]).band(3) == Sampled([]).band(3) == (None, None, None)
    assert BestOf({"a": baseline, "b": Replicates([curve(5.0)])}).band(1) == (5.0, 5.0, 5.0)
