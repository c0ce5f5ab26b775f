"""The few distributions that acceleration needs, in the standard library."""

import math
import random
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from statistics import NormalDist
from typing import Any, TypeVar

T = TypeVar("T")

N_DRAWS = 2000
"""How often a bootstrap resamples."""
_TINY = 1e-300


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return P(X <= x) for X ~ Beta(a, b): the regularised incomplete beta function I_x(a, b).

    Evaluated by its continued fraction (DLMF 8.17.22) with Lentz's algorithm.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # The fraction converges fast below the mean.
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + step * d)
            c = _away_from_zero(1.0 + step / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return min(1.0, math.exp(log_front) * value / a)


def beta_quantile(q: float, a: float, b: float) -> float:
    """Return the x with P(X <= x) = `q` for X ~ Beta(a, b), to a relative 1e-12."""
    low, high = 0.0, 1.0
    for _ in range(200):
        # Small quantiles (rare events) need the bisection in the logarithm.
        middle = math.sqrt(low * high) if low > 0.0 else high / 2.0 if high > 1e-9 else high / 1e3
        if beta_cdf(middle, a, b) < q:
            low = middle
        else:
            high = middle
        if high - low <= 1e-12 * high or high < _TINY:
            break
    return high


@lru_cache(maxsize=512)
def jeffreys_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Jeffreys interval for a probability after `k` successes in `n` trials, 0 < k.

    Quantiles of Beta(k + 1/2, n - k + 1/2); the upper end is 1 when k = n (Brown, Cai and DasGupta 2001).
    """
    tail = (1.0 - level) / 2.0
    low = beta_quantile(tail, k + 0.5, n - k + 0.5)
    high = 1.0 if k == n else beta_quantile(1.0 - tail, k + 0.5, n - k + 0.5)
    return low, high


def none_in(n: int, level: float = 0.95) -> float:
    """Return the largest probability that `n` trials without a success leave credible: 1 - (1 - level)^(1/n), exact."""
    return -math.expm1(math.log1p(-level) / n)


def draws_quantile(n_pool: int, n_good: int, q: float) -> int:
    """Return the least m such that `m` draws without replacement find a good one with probability at least `q`.

    Negative hypergeometric: P(draws > m) = C(n_pool - n_good, m) / C(n_pool, m).
    """
    none_yet, m = 1.0, 0
    # The last possible draw is n_pool - n_good + 1; rounding must not carry m beyond it.
    while 1.0 - none_yet < q and m <= n_pool - n_good:
        none_yet *= (n_pool - n_good - m) / (n_pool - m)
        m += 1
    return m


@cache
def student_quantile(q: float, freedom: int) -> float:
    """Return the `q` quantile of Student's t with `freedom` degrees of freedom, 1/2 <= q < 1.

    From t^2 / (freedom + t^2) ~ Beta(1/2, freedom / 2).
    """
    share = beta_quantile(2.0 * q - 1.0, 0.5, freedom / 2.0)
    return math.sqrt(freedom * share / (1.0 - share)) if share < 1.0 else math.inf


def resampled_means(values: Sequence[float]) -> list[float]:
    """Return the means of `N_DRAWS` resamples of `values` (Efron 1979), always the same ones.

    Equally long lists are resampled alike: the i-th mean is over the same places.
    """
    if len(values) < 2:
        return list(values) * N_DRAWS
    return [sum(resample(values)) / len(values) for resample in _resamples(len(values))]


def resampled(values: Sequence[T], statistic: Callable[[Sequence[T]], float]) -> list[float]:
    """Return a statistic of `N_DRAWS` resamples of at least two `values`, the same resamples as `resampled_means`."""
    return [statistic(resample(values)) for resample in _resamples(len(values))]


def expanded_interval(draws: Sequence[float], n: int | None = None, level: float = 0.95) -> tuple[float, float]:
    """Return percentiles of `draws`, those of a bootstrap over `n` values moved outward for small `n`.

    Percentiles of a bootstrap are too narrow for few values. Hesterberg (2015), Am. Stat. 69, 371, takes the ones at
    Phi(-+ sqrt(n / (n - 1)) t_(n - 1)) instead, which makes the interval of a mean of normal values right.

    Args:
        draws: At least one.
        n: How many values the draws resample, at least 2; None: the percentiles as they are.
        level: What the interval is to cover.
    """
    tail = (1.0 - level) / 2.0
    if n is not None:
        reach = math.sqrt(n / (n - 1)) * student_quantile(1.0 - tail, n - 1)
        tail = NormalDist().cdf(-reach)
    ordered = sorted(draws)
    return ordered[round(tail * (len(ordered) - 1))], ordered[round((1.0 - tail) * (len(ordered) - 1))]


@lru_cache(maxsize=16)
def _resamples(n: int) -> list[Callable[[Sequence[Any]], tuple[Any, ...]]]:
    chance = random.Random("renkei.bootstrap")  # noqa: S311 - a resampling, not a secret
    return [itemgetter(*chance.choices(range(n), k=n)) for _ in range(N_DRAWS)]


@lru_cache(maxsize=64)
def draws_of_rarity(k: int, n: int) -> list[float]:
    """Return how many trials a success takes, from `N_DRAWS` draws of Beta(k + 1/2, n - k + 1/2), Jeffreys' posterior.

    Always the same ones; k > 0.
    """
    chance = random.Random("renkei.rarity")  # noqa: S311 - a resampling, not a secret
    return [1.0 / chance.betavariate(k + 0.5, n - k + 0.5) for _ in range(N_DRAWS)]


def _away_from_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY
