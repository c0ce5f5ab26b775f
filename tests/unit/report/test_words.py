"""Numbers, units, and what is said of a campaign and its speed."""

from dataclasses import replace

import pytest

from renkei.model.space import Constraint, Objective
from renkei.planning.acceleration import Acceleration, Curve, Step, expected_best
from renkei.report import Accelerations, CampaignView
from renkei.report import _words as words
from renkei.report._verdict import how_much_faster, what_was_found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3, "3"),
        (3.0, "3"),
        (0.123456, "0.1235"),
        (8785.36, "8,785"),
        (1234567.8, "1,234,568"),
        (1.5e9 + 0.5, "1.5e+09"),
        (1e-9, "1e-09"),
        (True, "True"),
        ("真空", "真空"),
    ],
)
def test_numbers(value, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("unit", "text"), [("1", ""), ("degC", "°C"), ("kg/m**3", "kg/m³"), ("m**-2", "m⁻²"), ("N*m", "N·m")]
)
def test_units(unit: str, text: str) -> None:
    assert words.unit(unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "12.3 ms"), (5, "5 s"), (600, "10 min"), (7200, "2 h"), (864000, "10 d")]
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("n_bytes", "text"), [(27, "27 B"), (119_000, "119 kB"), (2.5e13, "25 TB")])
def test_sizes(n_bytes: int, text: str) -> None:
    assert words.size(n_bytes) == text


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (Objective("y"), "lowest y"),
        (Objective("y", "maximize"), "highest y"),
        (Objective("y", reach=0.5, unit="K"), "y ≤ 0.5 K"),
        (Objective("y", "maximize", reach=0.5), "y ≥ 0.5"),
        (Objective("y", "target", target=3.0, unit="m"), "y near 3 m"),
        (Objective("y", "target", target=3.0, reach=0.1, unit="m"), "y within 0.1 m of 3 m"),
    ],
)
def test_aims(objective: Objective, text: str) -> None:
    assert words.aim(objective) == text


def test_bounds_lists_and_counts() -> None:
    assert words.bounds(Constraint("y", 1.0, 2.0, "K")) == "1 ≤ y ≤ 2 K"
    assert words.bounds(Constraint("y", upper=2.0)) == "y ≤ 2"
    assert words.bounds(Constraint("y", lower=2.0, unit="K")) == "y ≥ 2 K"
    assert [words.listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert (words.count(1, "trial"), words.count(2000, "trial")) == ("1 trial", "2,000 trials")
    assert words.count(2, "party", "parties") == "2 parties"
    assert words.shortened("abcdef", 4) == "abc…"


def compared(**found) -> Accelerations:
    by = Acceleration(**{"low": None, "high": None, "level": 1.0, "bound": "estimate", **found})
    steps = (Step(1.0),) * 40
    by = {"trials": by, "hours": None, "cost": None}
    return Accelerations("sobol", Curve([Step(1.0)], 1.0), steps, by, None, False, "no cost")


def test_faster_is_said_with_its_interval() -> None:
    said = how_much_faster(compared(factor=3.0, low=1.5, high=6.0, campaign_effort=10.0, baseline_effort=30.0))
    assert said == (
        "It took 10 trials where Sobol sampling is expected to take 30 trials: 3 times faster (95% interval 1.5 to 6)."
    )


def test_not_clearly_faster_is_said() -> None:
    said = how_much_faster(compared(factor=1.2, low=0.5, high=6.0, campaign_effort=10.0, baseline_effort=12.0))
    assert said == (
        "It was not clearly faster or slower than its baseline: it took 10 trials where Sobol sampling is expected to"
        " take 12 trials, 1.2 times its pace (95% interval 0.5 to 6)."
    )


def test_slower_is_said_as_plainly() -> None:
    said = how_much_faster(compared(factor=0.5, low=0.2, high=0.9, campaign_effort=10.0, baseline_effort=5.0))
    assert said.startswith("It was slower than its baseline: it took 10 trials where Sobol sampling is expected to")
    assert said.endswith("0.5 times its pace (95% interval 0.2 to 0.9).")
    chance = how_much_faster(compared(factor=0.5, low=0.2, high=1.9, campaign_effort=10.0, baseline_effort=5.0))
    assert chance.startswith("It was not clearly faster or slower than its baseline: it took 10 trials")


def test_a_baseline_that_never_got_there_gives_a_bound() -> None:
    found = {"bound": "at least", "campaign_effort": 10.0, "baseline_effort": 14.0}
    said = how_much_faster(compared(factor=1.4, low=1.4, **found))
    assert "none of the 40 trials of Sobol sampling got there, which makes it at least 1.4 times faster" in said
    assert how_much_faster(compared(factor=0.4, low=0.4, **found)).endswith("too few to say whether it was faster.")


def test_nothing_is_said_where_nothing_can_be() -> None:
    said = how_much_faster(compared(factor=None, campaign_effort=10.0, baseline_effort=None, bound="unknown"))
    assert said.startswith("Nothing can be said about acceleration")


def test_what_was_found(view: CampaignView) -> None:
    assert view.best is not None
    missed = what_was_found(view)
    assert missed.startswith("The goal, hardness ≥ 8,900 MPa, was not reached; the best, trial ")
    for reach, start in ((8000.0, "The goal, hardness ≥ 8,000 MPa, was reached"), (None, "The best of 12 trials: ")):
        goal = replace(view.definition.objectives[0], reach=reach)
        definition = replace(view.definition, objectives=(goal,))
        from renkei.planning.pareto import Yardstick

        yardstick = Yardstick((goal,), definition.constraints)
        assert what_was_found(replace(view, definition=definition, yardstick=yardstick)).startswith(start)


def test_the_expected_best_of_draws_is_the_quantile_of_the_lowest() -> None:
    losses = [float(i) for i in range(1, 101)]
    assert expected_best(losses, 1, 0.5) == 50.0
    assert expected_best(losses, 10, 0.5) == 7.0  # 1 - 0.5^(1/10) = 0.067
    assert expected_best(losses, 1000, 0.5) == 1.0
    assert expected_best([1.0, float("inf")], 1, 0.975) is None
    assert expected_best([1.0, float("inf")], 8, 0.975) == 1.0
