import math

import pytest

from renkei.errors import UsageError
from renkei.model.space import Constraint, Objective
from renkei.planning import Yardstick, hypervolume, pareto_front

MIN_A, MAX_B = Objective("a"), Objective("b", "maximize")


def test_the_front_holds_what_nothing_dominates():
    outputs = [
        {"a": 1.0, "b": 1.0},
        {"a": 2.0, "b": 3.0},
        {"a": 2.0, "b": 2.0},  # dominated by the one before
        {"a": 3.0, "b": 3.0},  # and so is this
        {"a": 0.5, "b": 0.0},
    ]
    assert pareto_front(outputs, [MIN_A, MAX_B]) == [4, 0, 1]


def test_equal_outputs_share_the_front():
    assert pareto_front([{"a": 1.0, "b": 1.0}] * 2, [MIN_A, MAX_B]) == [0, 1]


def test_a_target_is_neared_from_both_sides():
    near = Objective("a", "target", target=5.0)
    assert pareto_front([{"a": 4.0}, {"a": 5.5}, {"a": 7.0}], [near]) == [1]


def test_what_breaks_a_constraint_or_has_no_number_is_left_out():
    outputs = [
        {"a": 0.0, "b": 9.0, "c": 2.0},
        {"a": math.nan, "b": 9.0, "c": 0.0},
        {"b": 9.0},
        {"a": 1.0, "b": 1.0, "c": 0.0},
    ]
    assert pareto_front(outputs, [MIN_A, MAX_B], [Constraint("c", upper=1.0)]) == [3]
    assert pareto_front([], [MIN_A]) == []


def test_hypervolume_of_known_shapes():
    assert hypervolume([], (1.0, 1.0)) == 0.0
    assert hypervolume([(0.25,)], (1.0,)) == 0.75
    assert hypervolume([(0.0, 0.0)], (2.0, 3.0)) == 6.0
    assert hypervolume([(0.0, 2.0), (1.0, 1.0), (2.0, 0.0)], (3.0, 3.0)) == 6.0
    assert hypervolume([(0.0, 0.0, 0.0), (0.5, 0.5, 0.5)], (1.0, 1.0, 1.0)) == 1.0
    # Three slabs that share a corner cube of 1: 3 x 2 - 3 + 1.
    slabs = [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)]
    assert hypervolume(slabs, (2.0, 2.0, 2.0)) == 4.0
    assert hypervolume([(3.0, 0.0)], (2.0, 2.0)) == 0.0


def test_one_objective_is_its_own_yardstick():
    stick = Yardstick([Objective("b", "maximize", reach=5.0)], [Constraint("a", upper=1.0)])
    assert stick.reach == -5.0
    assert stick.loss({"b": 7.0, "a": 0.0}) == -7.0
    assert stick.loss({"b": 7.0, "a": 2.0}) is None
    assert stick.loss({"a": 0.0}) is None
    assert Yardstick([MIN_A]).reach is None


def test_several_objectives_are_reached_together_at_zero():
    stick = Yardstick([Objective("a", reach=1.0), Objective("b", "maximize", reach=5.0)])
    assert stick.reach == 0.0
    assert stick.loss({"a": 1.0, "b": 5.0}) == 0.0
    assert stick.loss({"a": 0.0, "b": 4.0}) == 1.0
    assert stick.loss({"a": 0.0, "b": 7.0}) == -1.0


def test_objectives_without_a_reach_do_not_count_where_others_have_one():
    stick = Yardstick([Objective("a", reach=1.0), MAX_B])
    assert stick.loss({"a": 1.5}) == 0.5


def test_each_objective_is_measured_by_the_spread_of_the_baseline():
    baseline = [{"a": 0.0, "b": 0.0}, {"a": 10.0, "b": 2.0}]
    stick = Yardstick([Objective("a", reach=1.0), Objective("b", "maximize", reach=1.0)], scale_from=baseline)
    assert stick.loss({"a": 2.0, "b": 1.0}) == pytest.approx(0.1)
    assert stick.loss({"a": 1.0, "b": 0.0}) == pytest.approx(0.5)


def test_without_any_reach_the_distance_from_the_best_of_everything_counts():
    baseline = [{"a": 0.0, "b": 0.0}, {"a": 10.0, "b": 2.0}]
    stick = Yardstick([MIN_A, MAX_B], scale_from=baseline)
    assert stick.reach is None
    assert stick.loss({"a": 0.0, "b": 2.0}) == 0.0
    assert stick.loss({"a": 5.0, "b": 2.0}) == pytest.approx(0.5)
    with pytest.raises(UsageError, match="reach"):
        Yardstick([MIN_A, MAX_B])
