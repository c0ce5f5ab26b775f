"""Virtual time: trio's clock that jumps to the next deadline, and scheduling that follows a seed."""

# pyright: reportPrivateUsage=false

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import trio.testing
from trio._core import _run

T = TypeVar("T")


def run_virtually(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` on virtual time and return what it returns.

    Time stands still while any task can go on, and jumps to the next deadline when all wait. Of tasks that can go on at
    the same time trio takes one at random; here that, too, follows from the seed.
    """
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING  # as pytest-trio does it: there is no public way
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # pyright: ignore[reportConstantRedefinition]
    _run._r.seed(seed)
    clock = trio.testing.MockClock(autojump_threshold=0.0)
    try:
        return anyio.run(main, backend="trio", backend_options={"clock": clock})
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # pyright: ignore[reportConstantRedefinition]
