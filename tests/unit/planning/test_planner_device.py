"""Where the acquisition is computed; no GPU is needed, and none is used."""

import planning_models  # noqa: F401  # pyright: ignore[reportUnusedImport] - before anything that imports botorch
import pytest
import torch
from planning_examples import LOW, number

from renkei.errors import UsageError
from renkei.model.space import Observation, Real, Space
from renkei.planning import Source, create
from renkei.planning._surrogate import chosen_device
from renkei.planning.bayesian import BayesianPlanner

LINE = Space((Real("x", 0.0, 1.0),))
SOURCES = (Source("cheap", counts=False), Source("dear", 20.0))


def seen_gpu(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: is_there)


@pytest.mark.parametrize(
    ("wanted", "n_rows", "is_there", "found"),
    [
        ("auto", 299, True, "cpu"),
        ("auto", 300, True, "cuda"),
        ("auto", 1000, False, "cpu"),
        ("cpu", 1000, True, "cpu"),
        ("cuda", 5, True, "cuda"),
    ],
)
def test_a_gpu_is_taken_where_there_is_one_and_the_history_is_long(
    monkeypatch: pytest.MonkeyPatch, wanted: str, n_rows: int, is_there: bool, found: str
) -> None:
    seen_gpu(monkeypatch, is_there)
    assert chosen_device(wanted, n_rows) == found


def test_a_short_history_stays_on_the_cpu_though_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(device: str) -> list[dict[str, object]]:
        planner = BayesianPlanner(LINE, LOW, device=device)
        points = planner.ask(6)
        planner.tell([Observation(p, outputs={"f": number(p, "x") ** 2}) for p in points[:5]])
        planner.tell([Observation(points[5], "infeasible")])
        return [dict(point) for point in planner.ask(2)]

    seen_gpu(monkeypatch, is_there=True)
    assert asked("auto") == asked("cpu")
    assert not torch.cuda.is_initialized()


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    seen_gpu(monkeypatch, is_there=False)
    for options in ({"device": "gpu"}, {"device": "cuda"}):
        with pytest.raises(UsageError, match="Option device"):
            create("bayesian", LINE, LOW, options=options)
        with pytest.raises(UsageError, match="Option device"):
            create("bayesian", LINE, LOW, sources=SOURCES, options=options)
