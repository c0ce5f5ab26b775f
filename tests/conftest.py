"""What many tests share: a clock that tests move, a key made once, and the async backend."""

import pytest

from hand_clock import HandClock
from renkei.trust.keys import Key


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def key() -> Key:
    return Key.generate("institute")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_configure() -> None:
    pytest.register_assert_rewrite("renkei.testing.executors", "renkei.testing.planners")
