"""Quantities, times and summaries as people read them."""

from typing import Any

import pytest
from rich.console import Console

from renkei.cli._found import found, is_sound
from renkei.cli._output import amount, count, duration, plain, point, size, value
from renkei.model.campaign_file import parse_campaign

TWO_GOALS = """
[campaign]
name = "shell"
stop = { trials = 9 }
[space]
radius = { type = "real", low = 1.0, high = 2.0, unit = "m" }
[[objective]]
output = "field"
target = 5.5
reach = 0.1
unit = "T"
[[objective]]
output = "loss"
goal = "minimize"
[[constraint]]
output = "mass"
upper = 30.0
unit = "t"
[[source]]
procedure = "lab.shell"
"""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000012, "12 µs"),
        (0.25, "250 ms"),
        (12.34, "12.3 s"),
        (60, "1 min"),
        (150.4, "2 min 30 s"),
        (7200, "2 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_have_their_units_and_no_false_digits() -> None:
    assert amount(1_500_000, "node-hour") == "1.5 node-hour"
    assert amount(12_345_678_000_000, "USD") == "12,345,678 USD"
    assert value(350.04999, "K") == "350 K"
    assert value(2, "1") == "2"
    assert value(None) == ""
    assert point({"x": 0.5, "kind": "sand"}, {"x": "m"}) == "x 0.5 m, kind sand"
    assert (size(999), size(1_500_000), size(2_000_000_000_000)) == ("999 B", "1.5 MB", "2 TB")
    assert (count(1, "run"), count(1200, "run")) == ("1 run", "1,200 runs")


def test_text_from_outside_commands_no_terminal() -> None:
    assert plain("a\x1b[31mb\nc") == "a\ufffd[31mb\nc"


def summary(**changes: Any) -> dict[str, Any]:
    nothing = {"factor": None, "ci95": [None, None], "bound": "unknown", "level": None, "by": "trials"}
    effort = {"campaign_effort": None, "baseline_effort": None}
    return {
        "why": "all 9 trials were made",
        "trials": {"total": 9, "observed": 8, "infeasible": 1},
        "runs": {"requested": 9, "accepted": 9, "succeeded": 8, "infeasible": 1},
        "best": {"parameters": {"radius": 1.5}, "outputs": {"field": 5.48, "loss": 0.1, "mass": 29.0}, "site": "osaka"},
        "acceleration": {
            "baseline": "sobol",
            "trials": nothing | effort | {"factor": 2.5, "ci95": [1.5, 4.0], "bound": "estimate"},
            "hours": nothing | effort,
            "cost": nothing | effort,
        },
        "charges": [{"site": "osaka", "quantity": 4.5, "unit": "node-hour"}],
        "baseline_charges": [],
        "ledgers": [{"owner": "site/osaka", "records": 40, "verified": True, "problems": []}],
        "report": None,
        "crate": None,
    } | changes


def shown(content: dict[str, Any]) -> str:
    console = Console(width=140, highlight=False)
    with console.capture() as capture:
        console.print(found(content, parse_campaign(TWO_GOALS), "exhausted"))
    return capture.get()


def test_a_summary_has_goals_best_acceleration_and_charges_with_units() -> None:
    text = shown(summary())
    for part in (
        "field near 5.5 T, within 0.1 T; minimize loss; mass <= 30 t",
        "9: 8 observed, 1 infeasible",
        "mass 29 t, field 5.48 T, loss 0.1 at osaka",
        "radius 1.5 m",
        "by trials: 2.5 times fewer trials than sobol (95% interval 1.5 to 4.0)",
        "osaka 4.5 node-hour",
        "1 verified, 40 records",
    ):
        assert part in text


def test_slower_unclear_and_shared_sites_are_said_as_plainly_as_faster() -> None:
    base = summary()["acceleration"]
    slower = {"factor": 0.4, "ci95": [0.2, 0.9], "bound": "estimate"}
    unclear = {"factor": 1.2, "ci95": [0.5, 2.0], "bound": "estimate"}
    changed = base | {
        "baseline": "best single site",
        "trials": base["trials"] | unclear,
        "hours": base["hours"] | slower | {"by": "hours"},
        "shared_sites": True,
        "best_site": {"trials": "osaka", "hours": "kyoto"},
    }
    text = shown(summary(acceleration=changed))
    for part in (
        "by trials: not clearly faster or slower: 1.2 times fewer trials than best single site (osaka) (95%",
        "by hours: slower than its baseline: 0.40 times the pace of best single site (kyoto) (95% interval 0.20 to",
        "hours of neither are its own: campaign and baseline shared the sites",
    ):
        assert part in text


def test_a_ledger_that_is_not_sound_is_told_in_full() -> None:
    bad = [{"owner": "site/osaka", "records": 40, "verified": False, "problems": ["record 7 was changed"]}]
    assert "site/osaka IS NOT SOUND: record 7 was changed" in shown(summary(ledgers=bad))
    assert not is_sound(summary(ledgers=bad))
    assert is_sound(summary())


def test_a_campaign_that_found_nothing_says_so() -> None:
    assert "no trial holds every constraint" in shown(summary(best=None))
