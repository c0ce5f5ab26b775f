"""What random draws give, from a pool without replacement and from a sample with it; exact."""

import math
from bisect import bisect_left
from collections.abc import Sequence

from renkei.errors import UsageError
from renkei.planning._statistics import draws_quantile


def expected_draws(n_pool: int, n_good: int) -> float:
    """Return the mean number of random draws without replacement to the first good one: (n_pool + 1) / (n_good + 1).

    Args:
        n_pool: Points in the pool.
        n_good: Those that are good enough, 1 to n_pool.

    Raises:
        UsageError: There is no good point, or more than there are points.
    """
    _check_pool(n_pool, n_good)
    return (n_pool + 1) / (n_good + 1)


def draws_interval(n_pool: int, n_good: int, level: float = 0.95) -> tuple[int, int]:
    """Return the central interval of the number of draws to the first good one, exact (negative hypergeometric).

    Raises:
        UsageError: There is no good point, or more than there are points.
    """
    _check_pool(n_pool, n_good)
    tail = (1.0 - level) / 2.0
    return draws_quantile(n_pool, n_good, tail), draws_quantile(n_pool, n_good, 1.0 - tail)


def enhancement(n_found: int, n_trials: int, n_pool: int, n_good: int) -> float:
    """Return how many times more of a pool's good points were found than by as many random draws (Liang et al. 2021).

    Args:
        n_found: Good points among the trials.
        n_trials: Trials, at least 1.
        n_pool: Points in the pool.
        n_good: Good points in the pool.

    Raises:
        UsageError: There is no trial or no good point, or more of them than there are points.
    """
    _check_pool(n_pool, n_good)
    if not 1 <= n_trials <= n_pool:
        raise UsageError(f"Found {n_trials} trials on a pool of {n_pool}.")
    return (n_found / n_good) / (n_trials / n_pool)


def expected_best(losses: Sequence[float], n: int, q: float) -> float | None:
    """Return the `q` quantile of the lowest of `n` losses that are drawn, with replacement, from `losses`.

    The lowest of n is above x with probability (1 - F(x))^n, F being the distribution of the losses.

    Args:
        losses: In rising order; infinite for trials without one.
        n: At least 1.
        q: Between 0 and 1.

    Returns:
        None where the quantile is infinite.
    """
    at = -math.expm1(math.log1p(-q) / n)
    found = losses[max(0, min(len(losses), math.ceil(at * len(losses) - 1e-9)) - 1)]
    return finite_loss(found)


def finite_loss(loss: float) -> float | None:
    """Return a loss, None for an infinite one."""
    return None if math.isinf(loss) else loss


def hits_interval(n_pool: int, n_good: int, n: int, level: float = 0.95) -> tuple[int, int]:
    """Return the central interval of the number of good points among `n` drawn without replacement, exact."""
    least, most = max(0, n - (n_pool - n_good)), min(n, n_good)
    all_ways = math.comb(n_pool, n)
    so_far = 0
    cumulative: list[float] = []
    for k in range(least, most + 1):
        so_far += math.comb(n_good, k) * math.comb(n_pool - n_good, n - k)
        cumulative.append(so_far / all_ways)
    tail = (1.0 - level) / 2.0
    at = [min(len(cumulative) - 1, bisect_left(cumulative, q)) for q in (tail, 1.0 - tail)]
    return least + at[0], least + at[1]


def _check_pool(n_pool: int, n_good: int) -> None:
    if not 1 <= n_good <= n_pool:
        raise UsageError(f"A pool of {n_pool} points cannot have {n_good} good ones to find.")
