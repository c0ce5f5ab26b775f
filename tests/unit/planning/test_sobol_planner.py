import time

import pytest
from planning_examples import LOW, number

from renkei.model.space import Choice, Integer, Observation, Real, Space
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner


def test_sobol_fills_a_square_more_evenly_than_chance():
    space = Space((Real("x", 0.0, 1.0), Real("y", 0.0, 1.0)))
    for seed in range(3):
        points = SobolPlanner(space, LOW, seed=seed).ask(256)
        # A (0, 8, 2)-net in base 2: one point in every cell of a 16 x 16 grid.
        cells = {(int(16 * number(p, "x")), int(16 * number(p, "y"))) for p in points}
        assert len(cells) == 256
        drawn = RandomPlanner(space, LOW, seed=seed).ask(256)
        assert len({(int(16 * number(p, "x")), int(16 * number(p, "y"))) for p in drawn}) < 200


def test_whole_numbers_and_choices_own_equal_parts():
    space = Space((Integer("n", -1, 2), Choice("c", ("a", "b")), Real("x", 0, 1)))
    points = SobolPlanner(space, LOW, seed=3).ask(64)
    assert sorted((p["n"], p["c"]) for p in points) == sorted([(n, c) for n in range(-1, 3) for c in "ab"] * 8)


def test_a_discrete_space_is_visited_as_evenly_as_the_sequence():
    space = Space((Integer("n", 0, 15), Integer("m", 0, 15)))
    points = SobolPlanner(space, LOW, seed=3).ask(16)
    assert len({p["n"] for p in points}) == len({p["m"] for p in points}) == 16


@pytest.mark.parametrize("batch", [1, 256])
def test_a_hundred_thousand_trials_cost_little(batch: int):
    space = Space(tuple(Real(f"x{i}", 1.0, 2.0, log=i > 3) for i in range(6)))
    planner = SobolPlanner(space, LOW)
    planner.ask(1)
    n = 20_000
    observation = Observation({"x": 0.0})  # What was observed is not looked at.
    start = time.process_time()
    for _ in range(n // batch):
        planner.ask(batch)
        planner.tell([observation] * batch)
    assert (time.process_time() - start) / n < 40e-6  # Some 3 to 6 microseconds; ten times that is a fault.
