"""The broker: the soonest site, then the one that is pressed least; patience with failures, none with refusals."""

from typing import cast

import pytest

from fakes import spec
from hand_clock import HandClock
from renkei.federation import Broker, Route
from renkei.model.binding import Binding

NO_BINDING = cast("Binding", None)
PLENTY = 1_000_000 * 1_000_000


def route(site: str, *, slots: int = 2, price: int = 1_000_000, available: int = PLENTY, unit: str = "run") -> Route:
    return Route(site, spec(), NO_BINDING, slots, price, unit, available)


def measured(site: str, run_s: float, **options: int) -> Route:
    """Return a route whose runs are known to take so long."""
    found = route(site, **options)  # type: ignore[arg-type]
    found.sent()
    found.accepted(found.price)
    found.in_flight -= 1
    found.ended("succeeded", "", 0.0, run_s, found.price, 0.0)
    return found


def chosen(broker: Broker, *tried: str, n_to_come: int = 10) -> str | None:
    choice = broker.choose(tried, n_to_come)
    return None if choice is None else choice.route.site


def send(broker: Broker, n: int) -> list[str]:
    """Send runs one after another, none of which ends; return where they went."""
    sites: list[str] = []
    for _ in range(n):
        choice = broker.choose((), 10)
        assert choice is not None
        choice.route.sent()
        sites.append(choice.route.site)
    return sites


# ---- which site ------------------------------------------------------------------------------------------------


def test_the_site_that_is_done_soonest_is_picked(clock: HandClock) -> None:
    slow, fast = measured("slow", 10.0), measured("fast", 2.0)
    assert chosen(Broker([slow, fast], clock)) == "fast"
    assert chosen(Broker([fast, slow], clock)) == "fast"


def test_runs_spread_by_how_long_the_next_one_would_have_to_wait(clock: HandClock) -> None:
    broker = Broker([measured("slow", 10.0, slots=4), measured("fast", 4.0, slots=1)], clock)
    sites = send(broker, 9)
    assert sites[:3] == ["fast", "fast", "slow"]  # done after 4, 8 and 10 seconds
    assert (sites.count("slow"), sites.count("fast")) == (5, 4)


def test_time_spent_in_the_queue_of_others_counts(clock: HandClock) -> None:
    busy, idle = measured("busy", 2.0), measured("idle", 5.0)
    for _ in range(30):
        busy.sent()
        busy.accepted(busy.price)
        busy.in_flight -= 1
        busy.ended("succeeded", "", 60.0, 2.0, 0, 0.0)
    assert chosen(Broker([busy, idle], clock)) == "idle"


def test_among_equals_the_cheaper_and_the_less_pressed_is_picked(clock: HandClock) -> None:
    dear, cheap = measured("dear", 2.0, price=8_000_000, available=10**8), measured("cheap", 2.0, available=10**8)
    assert chosen(Broker([dear, cheap], clock)) == "cheap"
    short, rich = measured("short", 2.0, available=5_000_000), measured("rich", 2.0, available=500_000_000)
    assert chosen(Broker([short, rich], clock)) == "rich"
    assert chosen(Broker([measured("rich", 9.0, available=10**9), short], clock), n_to_come=1) == "short"


def test_a_site_that_is_not_known_yet_is_tried_with_as_many_runs_as_it_works_on(clock: HandClock) -> None:
    broker = Broker([measured("known", 1.0, slots=1), route("new", slots=3)], clock)
    assert send(broker, 6) == ["new", "new", "new", "known", "known", "known"]


def test_sites_of_which_nothing_is_known_share_by_their_size(clock: HandClock) -> None:
    sites = send(Broker([route("small", slots=1), route("large", slots=3)], clock), 40)
    assert (sites.count("small"), sites.count("large")) == (10, 30)


def test_the_reason_names_every_site_that_was_weighed(clock: HandClock) -> None:
    choice = Broker([measured("a", 10.0), measured("b", 2.0)], clock).choose((), 10)
    assert choice is not None
    (what, weighed), *others = choice.why.items()
    assert (what, others) == ("score, expected_s, pressure", [])
    assert weighed == {"a": pytest.approx([10.0001, 10.0, 1e-5]), "b": pytest.approx([2.00002, 2.0, 1e-5])}


def test_running_times_follow_what_is_measured(clock: HandClock) -> None:
    changing = measured("changing", 1.0)
    for _ in range(20):
        changing.in_flight += 1
        changing.in_flight -= 1
        changing.ended("succeeded", "", 0.0, 9.0, 0, 0.0)
    assert 8.5 < changing.expected_s() < 9.0


def test_a_cancelled_run_says_nothing_about_its_site(clock: HandClock) -> None:
    new, slow = route("new"), measured("slow", 50.0)
    for found in (new, slow):
        found.sent()
        found.in_flight -= 1
        found.ended("cancelled", "", 0.0, 0.0, found.price, 0.0)
    assert new.run_s is None
    assert slow.run_s == 50.0


# ---- failures --------------------------------------------------------------------------------------------------


def fail(found: Route, clock: HandClock, outcome: str = "failed", fault: str = "facility") -> None:
    found.sent()
    found.in_flight -= 1
    found.ended(outcome, fault, 0.0, 1.0, found.price, clock.time)


@pytest.mark.parametrize(("outcome", "fault"), [("failed", "facility"), ("lost", "")])
def test_a_site_that_fails_is_left_alone_twice_as_long_each_time(outcome: str, fault: str, clock: HandClock) -> None:
    found = route("here")
    broker = Broker([found], clock)
    for wait in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
        fail(found, clock, outcome, fault)
        assert chosen(broker) is None
        clock.time += wait - 0.01
        assert chosen(broker) is None
        clock.time += 0.02
        assert chosen(broker) == "here"


def test_runs_that_fail_together_count_as_one_failure(clock: HandClock) -> None:
    found = route("here")
    for _ in range(8):
        fail(found, clock)
    clock.time += 1.01
    assert chosen(Broker([found], clock)) == "here"


def test_it_comes_back_with_one_run_until_one_comes_back_well(clock: HandClock) -> None:
    found = measured("here", 1.0, slots=8)
    broker = Broker([found], clock)
    fail(found, clock)
    clock.time += 1.01
    assert send(broker, 1) == ["here"]
    assert chosen(broker) is None
    found.in_flight -= 1
    found.ended("succeeded", "", 0.0, 1.0, 0, clock.time)
    assert send(broker, 8) == ["here"] * 8
    fail(found, clock)
    clock.time += 1.01
    assert chosen(broker) is None, "while runs from before are at work"
    found.in_flight = 0
    assert chosen(broker) == "here"


@pytest.mark.parametrize("outcome", ["infeasible", "failed"])
def test_an_end_that_is_no_fault_of_the_site_proves_that_it_works(outcome: str, clock: HandClock) -> None:
    found = route("here")
    fail(found, clock)
    clock.time += 1.01
    fail(found, clock, outcome, "requester" if outcome == "failed" else "")
    assert send(Broker([found], clock), 3) == ["here"] * 3


def test_a_trial_is_not_sent_again_where_it_failed_as_long_as_there_is_somewhere_else(clock: HandClock) -> None:
    fast, slow = measured("fast", 1.0), measured("slow", 100.0)
    broker = Broker([fast, slow], clock)
    assert chosen(broker) == "fast"
    assert chosen(broker, "fast") == "slow"
    assert chosen(broker, "fast", "slow") == "fast"
    slow.closed = "it is gone"
    assert chosen(broker, "fast") == "fast"


# ---- refusals --------------------------------------------------------------------------------------------------


def refuse(found: Route, code: str) -> None:
    found.sent()
    found.in_flight -= 1
    found.refused(code, f"because of {code}")


@pytest.mark.parametrize("code", ["denied", "invalid", "cancelled"])
def test_a_site_that_only_refuses_is_closed(code: str, clock: HandClock) -> None:
    found = route("here")
    broker = Broker([found], clock)
    for _ in range(3):
        assert chosen(broker) == "here"
        assert not broker.is_closed
        refuse(found, code)
    assert chosen(broker) is None
    assert broker.is_closed
    assert found.closed == f"because of {code}"
    assert found.available == PLENTY


@pytest.mark.parametrize("proof", ["acceptance", "end"])
def test_a_site_that_took_a_run_once_is_not_closed_by_refusals(proof: str, clock: HandClock) -> None:
    found = route("here")
    found.sent()
    if proof == "acceptance":
        found.accepted(found.price)
    else:  # a quick run may be over before its receipt is read
        found.in_flight -= 1
        found.ended("succeeded", "", 0.0, 1.0, 0, 0.0)
    for _ in range(10):
        refuse(found, "denied")
    assert chosen(Broker([found], clock)) == "here"


def test_without_an_allocation_it_waits_for_runs_to_end_and_is_closed_if_there_are_none(clock: HandClock) -> None:
    found = route("here", available=10**9)
    broker = Broker([found], clock)
    found.sent()
    found.accepted(found.price)
    refuse(found, "allocation")
    assert chosen(broker) is None
    assert not found.closed
    found.in_flight -= 1
    found.ended("succeeded", "", 0.0, 1.0, 500_000, 0.0)
    assert chosen(broker) == "here"
    refuse(found, "allocation")
    assert found.closed == "because of allocation"


def test_waiting_for_an_end_ends_also_when_the_last_run_is_refused(clock: HandClock) -> None:
    found = route("here")
    broker = Broker([found], clock)
    found.sent()  # this one was parked
    refuse(found, "allocation")
    assert chosen(broker) is None
    found.in_flight -= 1
    found.refused("denied", "by a person")
    assert chosen(broker) == "here"


def test_nothing_is_sent_that_the_allocation_cannot_cover_while_runs_are_at_work(clock: HandClock) -> None:
    found = route("here", slots=50, available=3_500_000)
    broker = Broker([found], clock)
    assert send(broker, 3) == ["here"] * 3
    assert chosen(broker) is None
    for _ in range(3):
        found.accepted(found.price)
    assert chosen(broker) is None
    found.in_flight -= 1
    found.ended("succeeded", "", 0.0, 1.0, 600_000, 0.0)  # 0.4 used: 0.5 and 0.6 are left
    assert chosen(broker) == "here"
    assert found.available == 1_100_000


def test_what_a_site_said_was_left_is_not_the_last_word(clock: HandClock) -> None:
    """Others use the allocation, too, and it may have grown: with nothing at work, the site is asked."""
    assert chosen(Broker([route("here", available=0)], clock)) == "here"


def test_available_follows_requests_receipts_and_ends(clock: HandClock) -> None:
    found = route("here", price=2_000_000, available=10_000_000)
    found.sent()
    found.sent()
    assert found.available == 6_000_000
    found.accepted(1_500_000)  # the site reserved less than its offer said
    assert found.available == 6_500_000
    found.in_flight -= 1
    found.refused("denied", "no")
    assert found.available == 8_500_000
    found.in_flight -= 1
    found.ended("succeeded", "", 0.0, 1.0, 500_000, 0.0)
    assert found.available == 9_000_000


def test_only_what_may_be_used_is_picked(clock: HandClock) -> None:
    broker = Broker([measured("fast", 1.0), measured("slow", 5.0)], clock)
    choice = broker.choose((), 1, lambda found: found.site != "fast")
    assert choice is not None
    assert choice.route.site == "slow"
    assert broker.choose((), 1, lambda found: False) is None


def test_nothing_to_choose_from_is_closed(clock: HandClock) -> None:
    assert Broker([], clock).is_closed
    assert chosen(Broker([], clock)) is None
