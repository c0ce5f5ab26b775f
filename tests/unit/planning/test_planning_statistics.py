import random

import pytest
from scipy import stats

from renkei.planning._statistics import (
    beta_cdf,
    beta_quantile,
    draws_quantile,
    expanded_interval,
    jeffreys_interval,
    none_in,
    resampled_means,
)


@pytest.mark.parametrize("a", [0.5, 1.0, 3.5, 200.5])
@pytest.mark.parametrize("b", [0.5, 1.0, 7.5, 9000.5])
def test_beta_agrees_with_scipy(a: float, b: float):
    for x in (0.0, 1e-9, 0.01, 0.3, 0.5, 0.9, 1.0):
        assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), abs=1e-11)
    for q in (0.025, 0.5, 0.975):
        assert beta_quantile(q, a, b) == pytest.approx(stats.beta.ppf(q, a, b), rel=1e-8)


def test_the_jeffreys_interval_reaches_one_when_every_trial_succeeds():
    assert jeffreys_interval(5, 5)[1] == 1.0
    low, high = jeffreys_interval(3, 10)
    assert (low, high) == pytest.approx((0.09269, 0.60581), abs=1e-4)


def test_no_success_in_n_trials_leaves_three_over_n():
    assert none_in(1000) == pytest.approx(3 / 1000, rel=4e-3)
    assert (1 - none_in(17)) ** 17 == pytest.approx(0.05)


@pytest.mark.parametrize(("n_pool", "n_good"), [(1, 1), (50, 50), (50, 1), (3955, 12)])
def test_quantiles_of_draws_stay_within_the_possible(n_pool: int, n_good: int):
    assert draws_quantile(n_pool, n_good, 0.0) == 0
    assert draws_quantile(n_pool, n_good, 1.0) <= n_pool - n_good + 1
    assert 1 <= draws_quantile(n_pool, n_good, 0.025) <= draws_quantile(n_pool, n_good, 0.975)


def test_the_bootstrap_gives_the_interval_of_a_mean_and_leaves_the_random_numbers_of_others_alone():
    chance = random.Random(3)
    values = [chance.gauss(10.0, 2.0) for _ in range(100)]
    random.seed(1)
    before = random.getstate()
    low, high = expanded_interval(resampled_means(values), len(values))
    assert random.getstate() == before
    mean = sum(values) / 100
    assert low == pytest.approx(mean - 1.96 * 0.2, abs=0.08)
    assert high == pytest.approx(mean + 1.96 * 0.2, abs=0.08)
    assert expanded_interval(resampled_means(values), len(values)) == (low, high)
