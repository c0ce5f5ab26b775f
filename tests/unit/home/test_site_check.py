"""`renkei site check`: one finding for everything that can be wrong, and nothing changed."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hand_clock import HandClock
from renkei.home import _site_check
from renkei.home._site_check import check_site
from renkei.ledger import Ledger
from renkei.model.records import AllocationGranted
from renkei.trust.keys import Key
from served.pair import Pair

pytestmark = pytest.mark.anyio


@pytest.fixture
def two(tmp_path: Path) -> Pair:
    return Pair(tmp_path, 10, {}, {})


async def wrong(two: Pair, clock: HandClock, *, grave: bool = True) -> dict[str, str]:
    """Return what is wrong with the site 'east', by check."""
    findings = await check_site(two.folder / "east.toml", clock)
    return {found.check: found.problem for found in findings if found.problem and found.is_grave == grave}


def replaced(two: Pair, old: str, new: str) -> None:
    path = two.folder / "east.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def test_a_good_site_has_nothing_wrong_and_is_left_as_it_was(two: Pair, clock: HandClock) -> None:
    before = sorted(two.folder.rglob("*"))
    findings = await check_site(two.folder / "east.toml", clock)
    assert [found.problem for found in findings] == [""] * len(findings)
    names = "key agreement procedures policy executor storage clock address"
    assert [found.check for found in findings] == names.split()
    assert [path for path in sorted(two.folder.rglob("*")) if "__pycache__" not in path.parts] == before


def _other_key(two: Pair) -> None:
    (two.folder / "keys/us-lab.key").unlink()
    Key.generate("us-lab").save(two.folder / "keys/us-lab.key")


def _key_of_another(two: Pair) -> None:
    replaced(two, 'key = "keys/us-lab.key"', 'key = "keys/jp-lab.key"')


def _unsigned(two: Pair) -> None:
    (two.folder / "agreement.toml.sig").unlink()


def _no_agreement(two: Pair) -> None:
    replaced(two, 'agreement = "agreement.toml"\n', "")


def _unknown_team(two: Pair) -> None:
    replaced(two, 'team = "fusion"', 'team = "fission"')


def _no_table(two: Pair) -> None:
    replaced(two, f"[serve]\nport = {two.ports[0]}\n", "")


def _bad_policy(two: Pair) -> None:
    (two.folder / "policy.cedar").write_text("permit(principal, action")
    replaced(two, 'data = "data-east"', 'data = "data-east"\npolicy = "policy.cedar"')


def _data_is_a_file(two: Pair) -> None:
    (two.folder / "data-east").write_text("")


@pytest.mark.parametrize(
    ("spoil", "check", "says"),
    [
        (_other_key, "agreement", "has another key for 'us-lab'"),
        (_key_of_another, "key", "is the key of 'jp-lab'"),
        (_unsigned, "agreement", "not in force"),
        (_no_agreement, "agreement", "No agreement is named"),
        (_unknown_team, "agreement", "no team 'fission'"),
        (_no_table, "address", "Add a table [serve]"),
        (_bad_policy, "policy", "policy.cedar"),
        (_data_is_a_file, "storage", "cannot be used"),
    ],
)
async def test_each_fault_is_found(
    two: Pair, clock: HandClock, spoil: Callable[[Pair], None], check: str, says: str
) -> None:
    spoil(two)
    assert says in (await wrong(two, clock))[check]


async def test_a_port_that_is_taken_is_found(two: Pair, clock: HandClock) -> None:
    with socket.create_server(("127.0.0.1", two.ports[0])):
        assert "cannot be listened at" in (await wrong(two, clock))["address"]


async def test_a_clock_that_was_put_back_is_found(two: Pair, clock: HandClock) -> None:
    key = Key.load(two.folder / "keys/us-lab.key")
    ledger = Ledger(two.folder / "data-east/ledger.db", "site/east", key, clock)
    ledger.append(AllocationGranted("fusion", 1, "run", "test"))
    await ledger.close()
    assert "clock" not in await wrong(two, clock)
    clock.time -= 3600
    assert "3,600 s behind" in (await wrong(two, clock))["clock"]


async def test_a_disk_that_is_nearly_full_is_found(
    two: Pair, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_site_check, "LITTLE_SPACE_BYTES", 10**18)
    assert "Make room" in (await wrong(two, clock))["storage"]


async def test_a_site_without_allocations_is_told_so_but_may_serve(two: Pair, clock: HandClock) -> None:
    replaced(two, '[[allocations]]\nteam = "fusion"\nquantity = "1000 run"\n', "")
    assert await wrong(two, clock) == {}
    assert "every run will be refused" in (await wrong(two, clock, grave=False))["allocations"]
