"""How an acquisition is searched, on functions whose maximum is known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from planning_models import AcquisitionFunction, SingleTaskGP
from torch import Tensor

from renkei.model.space import Choice, Integer, Point, Real, Space
from renkei.planning._rows import RowCodec
from renkei.planning._search import Search
from renkei.planning._surrogate import alone


class Given(AcquisitionFunction):
    """A function of rows in place of a model's acquisition."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        with alone(0):
            super().__init__(SingleTaskGP(torch.zeros(1, 1).double(), torch.zeros(1, 1).double()))
        self._function = function
        self.n_largest = 0

    def forward(self, X: Tensor) -> Tensor:
        self.n_largest = max(self.n_largest, len(X))
        return self._function(X.squeeze(-2))


def towards(codec: RowCodec, best: Point) -> Given:
    """Return an acquisition that falls with the distance from one point, each parameter alike."""
    goal = torch.from_numpy(codec.rows([best]))
    return Given(lambda rows: -(rows - goal).square().sum(-1))


def found(space: Space, best: Point, taken: list[Point] | None = None) -> Point | None:
    codec = RowCodec(space)
    with alone(0):
        row = Search(towards(codec, best), 1, 1).best_row(
            codec, codec.from_units(np.full((1, codec.n_parameters), 0.1)), codec.rows(taken or []), seed=3
        )
    return None if row is None else codec.points(row[np.newaxis])[0]


def test_a_continuous_maximum_is_met():
    space = Space((Real("x", -3.0, 5.0), Real("t", 1e-4, 1.0, log=True)))
    point = found(space, {"x": 1.2345, "t": 3e-3})
    assert point == {"x": pytest.approx(1.2345, abs=1e-3), "t": pytest.approx(3e-3, rel=1e-3)}


def test_a_maximum_at_a_corner_is_met_exactly():
    space = Space((Real("x", -3.0, 5.0), Real("y", 0.1, 0.3)))
    assert found(space, {"x": 5.0, "y": 0.1}) == {"x": 5.0, "y": 0.1}


@pytest.mark.parametrize("high", [10**3, 10**6])
def test_long_whole_numbers_are_climbed(high: int):
    space = Space(tuple(Integer(name, 1, high) for name in "abcd"))
    best: Point = {name: int(high * share) for name, share in zip("abcd", (0.123, 0.456, 0.789, 0.999), strict=True)}
    point = found(space, best)
    assert point is not None
    assert all(abs(int(point[name]) - int(best[name])) <= 1e-3 * high for name in "abcd")


def test_choices_and_short_whole_numbers_are_stepped_through():
    # 4^6 x 6^4 combinations, of which 640 are compared at first.
    letters = [Choice(f"c{i}", ("a", "b", "c", "d")) for i in range(6)]
    space = Space((*letters, *(Integer(f"n{i}", 0, 5) for i in range(4)), Real("x", 0.0, 1.0)))
    best: Point = {**{f"c{i}": "bdacab"[i] for i in range(6)}, **{f"n{i}": (5, 0, 2, 3)[i] for i in range(4)}}
    point = found(space, {**best, "x": 0.321})
    assert point == {**best, "x": pytest.approx(0.321, abs=1e-3)}


def test_the_next_best_is_taken_where_the_best_is_taken():
    space = Space((Integer("n", 0, 10**5), Choice("c", ("a", "b"))))
    best: Point = {"n": 70_000, "c": "b"}
    assert found(space, best) == best
    second = found(space, best, taken=[best])
    assert second is not None
    assert second != best
    assert abs(int(second["n"]) - 70_000) < 2000


def test_nothing_is_found_where_all_is_taken():
    space = Space((Integer("n", 0, 3),))
    assert found(space, {"n": 2}, taken=[{"n": n} for n in range(4)]) is None


def test_rows_go_in_parts_that_fit_into_memory():
    rows = np.random.default_rng(1).random((1000, 2))
    acquisition = Given(lambda x: x.sum(-1))
    values = Search(acquisition, load=100_000, n_objectives=1).values(rows)
    assert acquisition.n_largest == 40
    assert np.allclose(values, rows.sum(axis=1))


def test_what_is_not_a_number_is_never_the_best():
    acquisition = Given(lambda x: torch.where(x[..., 0] < 0.5, x[..., 0], torch.nan))
    values = Search(acquisition, 1, 1).values(np.array([[0.1], [0.4], [0.9]]))
    assert values.argmax() == 1
    assert values[2] == -np.inf
