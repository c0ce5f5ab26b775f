"""What sites offer, asked until a campaign can be taken up."""

from collections.abc import Sequence
from typing import Any, cast

import anyio
import pytest

from fakes import campaign_file, offered
from hand_clock import HandClock
from renkei.campaign import descriptions_to_resume
from renkei.errors import Denied, Unreachable
from renkei.federation import Description, SiteHandle

pytestmark = pytest.mark.anyio


class Offering:
    """A site that says what it offers, or does not."""

    def __init__(self, name: str, procedures: Sequence[str], n_silent: int = 0, *, is_refusing: bool = False) -> None:
        self.name, self.n_silent, self.is_refusing = name, n_silent, is_refusing
        offers = tuple(offered(procedure).describe(1) for procedure in procedures)
        self.description = Description(name, "us-lab", "key", offers, {"run": 1.0})

    async def describe(self, team: str) -> Description:
        if self.n_silent:
            self.n_silent -= 1
            raise Unreachable(f"{self.name} is silent")
        if self.is_refusing and team:
            raise Denied("revoked")
        return self.description


async def asked(clock: HandClock, wanted: set[str], *sites: Offering) -> tuple[set[str], list[str]]:
    """Return who answered in the end, and who was told to be waited for."""
    told: list[str] = []
    handles = cast("dict[str, SiteHandle]", {site.name: cast("Any", site) for site in sites})
    found, silent = await descriptions_to_resume(
        campaign_file(), wanted, handles, clock, lambda error: told.append(error.message)
    )
    assert {error.message for error in silent} == {f"{name} is silent" for name in handles.keys() - found.keys()}
    return set(found), told


async def test_silent_sites_are_waited_for_until_every_procedure_is_on_offer(clock: HandClock) -> None:
    east, west, north = Offering("east", ["a"], 3), Offering("west", ["b"]), Offering("north", ["a"], 5)
    assert await asked(clock, {"a", "b"}, east, west, north) == (
        {"east", "west"},
        ["east is silent", "north is silent"] * 3,
    )


async def test_a_silent_site_that_nothing_hangs_on_is_left_out(clock: HandClock) -> None:
    assert await asked(clock, {"a"}, Offering("east", ["a"]), Offering("west", ["a"], 99)) == ({"east"}, [])


async def test_what_no_site_offers_is_not_waited_for(clock: HandClock) -> None:
    assert await asked(clock, {"gone"}, Offering("east", ["a"], 2)) == ({"east"}, ["east is silent"] * 2)


async def test_a_site_that_refuses_the_team_says_what_it_offers_to_anybody(clock: HandClock) -> None:
    assert await asked(clock, {"a"}, Offering("east", ["a"], is_refusing=True)) == ({"east"}, [])


async def test_sites_are_asked_at_the_same_time(clock: HandClock) -> None:
    """One that answers only when the other was asked, and the other way round."""
    asked_too = {"east": anyio.Event(), "west": anyio.Event()}

    class Waiting(Offering):
        async def describe(self, team: str) -> Description:
            asked_too[self.name].set()
            await asked_too[{"east": "west", "west": "east"}[self.name]].wait()
            return await super().describe(team)

    with anyio.fail_after(5.0):
        assert await asked(clock, {"a"}, Waiting("east", ["a"]), Waiting("west", ["a"])) == ({"east", "west"}, [])
