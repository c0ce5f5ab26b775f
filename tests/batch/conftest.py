"""Each test that asks for `bench` runs on the stand-ins of PBS, PJM and Flux."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_bench import Bench, make_bench


@pytest.fixture(params=["pbs", "pjm", "flux"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from make_bench(request.param, tmp_path, monkeypatch)


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from make_bench("pbs", tmp_path, monkeypatch)


@pytest.fixture
def pjm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from make_bench("pjm", tmp_path, monkeypatch)


@pytest.fixture
def flux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from make_bench("flux", tmp_path, monkeypatch)
