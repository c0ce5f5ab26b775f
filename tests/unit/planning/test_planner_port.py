from collections.abc import Callable
from typing import Any

import pytest
from planning_examples import BRANIN_SPACE, LOW

from renkei.errors import UsageError
from renkei.planning import _port, create
from renkei.planning._port import require
from renkei.planning.bayesian import BayesianPlanner
from renkei.planning.random import RandomPlanner
from renkei.planning.sobol import SobolPlanner


@pytest.mark.parametrize(
    ("name", "kind"), [("random", RandomPlanner), ("sobol", SobolPlanner), ("bayesian", BayesianPlanner)]
)
def test_planners_are_found_by_name(name: str, kind: type):
    planner = create(name, BRANIN_SPACE, LOW, seed=4)
    assert isinstance(planner, kind)
    assert planner.ask(2) == kind(BRANIN_SPACE, LOW, seed=4).ask(2)


def test_an_unknown_planner_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="Did you mean 'sobol'") as refused:
        create("soboll", BRANIN_SPACE, LOW)
    assert "ax, bayesian, gest, nimo, optuna, physbo, random, sobol" in refused.value.hint


def test_an_unknown_option_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"no option 'inital'\. Did you mean 'initial'") as refused:
        create("bayesian", BRANIN_SPACE, LOW, options={"inital": 3})
    assert refused.value.hint == "Its options: initial, time, device."
    with pytest.raises(UsageError, match="no option 'initial'") as refused:
        create("random", BRANIN_SPACE, LOW, options={"initial": 3})
    assert refused.value.hint == "Its options: none."


def test_what_every_planner_is_given_is_no_option():
    with pytest.raises(UsageError, match="no option 'seed'"):
        create("random", BRANIN_SPACE, LOW, seed=1, options={"seed": 2})


def test_an_option_reaches_the_planner():
    with pytest.raises(UsageError, match="initial"):
        create("bayesian", BRANIN_SPACE, LOW, options={"initial": 0})


class Entry:
    """An entry point that loads what a test wants."""

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self.name, self.load = name, load


def test_a_fault_in_a_planner_is_not_taken_for_a_wrong_option(monkeypatch: pytest.MonkeyPatch):
    def faulty(space: Any, objectives: Any, *, constraints: Any, seed: Any, warm: Any) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr(_port, "entry_points", lambda group: [Entry("random", lambda: faulty)])
    with pytest.raises(TypeError, match="a fault"):
        create("random", BRANIN_SPACE, LOW)


def test_a_planner_whose_package_cannot_be_imported_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    def load() -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(_port, "entry_points", lambda group: [Entry("bayesian", load)])
    with pytest.raises(UsageError, match="numpy") as refused:
        create("bayesian", BRANIN_SPACE, LOW)
    assert "renkei[planner]" in refused.value.hint


def test_a_missing_package_is_reported_before_the_first_trial():
    require("math")
    with pytest.raises(UsageError, match="no_such_package") as refused:
        require("math", "no_such_package")
    assert "renkei[planner]" in refused.value.hint
