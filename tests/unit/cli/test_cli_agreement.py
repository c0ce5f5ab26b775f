"""Agreements from the command line: written, checked, signed, shown."""

from pathlib import Path

import pytest
from cli_example import Renkei

from renkei.model.agreement import load_agreement

ROSTER = (
    *("--party", "us=United States", "--party", "jp=Japan"),
    *("--institution", "ornl=us", "--institution", "riken=jp"),
    *("--team", "fusion-energy=ornl,riken"),
)


@pytest.fixture
def file(renkei: Renkei, tmp_path: Path) -> Path:
    path = tmp_path / "genesis.toml"
    assert renkei("agreement", "new", path, *ROSTER).code == 0
    return path


def test_a_new_agreement_has_who_was_named_and_a_secret_key_for_each(file: Path) -> None:
    agreement = load_agreement(file)
    assert agreement.name == "genesis"
    assert agreement.parties["us"].name == "United States"
    assert agreement.teams["fusion-energy"].institutions == ("ornl", "riken")
    assert not agreement.illustrative
    keys = {path.name: path.stat().st_mode & 0o777 for path in (file.parent / "keys").iterdir()}
    assert keys == {f"{name}.key": 0o600 for name in ("us", "jp", "ornl", "riken")}


def test_an_agreement_about_nobody_is_marked_as_an_example(renkei: Renkei, tmp_path: Path) -> None:
    assert renkei("agreement", "new", tmp_path / "a.toml").code == 0
    assert load_agreement(tmp_path / "a.toml").illustrative


def test_it_is_in_force_once_every_party_has_signed(renkei: Renkei, file: Path) -> None:
    before = renkei("agreement", "check", file)
    assert before.code == 3
    assert "us (United States): has not signed" in before.out
    for party in ("us", "jp"):
        assert renkei("agreement", "sign", file, "--key", file.parent / f"keys/{party}.key").code == 0
    after = renkei("agreement", "check", file, "--json")
    assert after.code == 0
    assert after.records[0]["in_force"]
    file.write_text(file.read_text() + "# one word more\n")
    changed = renkei("agreement", "check", file)
    assert (changed.code, "signed another version of the file" in changed.out) == (3, True)


def test_it_is_shown_with_keys_teams_and_rules(renkei: Renkei, file: Path) -> None:
    said = renkei("agreement", "show", file)
    assert said.code == 0
    for part in ("United States", "riken", "fusion-energy", "open-research", "purposes open-research"):
        assert part in said.out
    assert renkei("agreement", "show", file, "--json").records[0]["parties"]["jp"]["name"] == "Japan"


def test_every_mistake_is_listed(renkei: Renkei, file: Path) -> None:
    file.write_text(file.read_text().replace('party = "jp"', 'party = "uk"').replace("version = 1", "versoin = 1"))
    said = renkei("agreement", "check", file)
    assert said.code == 2
    assert "has 3 mistakes" in said.err
    assert "institutions.riken.party: found 'uk'" in said.err
    assert "Did you mean 'version'?" in said.err


def test_a_key_that_is_no_partys_cannot_sign(renkei: Renkei, file: Path) -> None:
    said = renkei("agreement", "sign", file, "--key", file.parent / "keys/ornl.key")
    assert (said.code, "'ornl' is not a party" in said.err) == (3, True)


def test_a_key_that_others_may_read_does_not_sign(renkei: Renkei, file: Path) -> None:
    (file.parent / "keys/us.key").chmod(0o644)
    said = renkei("agreement", "sign", file, "--key", file.parent / "keys/us.key")
    assert (said.code, "chmod 600" in said.err) == (2, True)
    assert not file.with_name("genesis.toml.sig").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--party", "us"), "not what --party takes"),
        (("--party", "us=A", "--party", "us=B"), "'us' twice"),
        (("--party", "us=A", "--institution", "us=us"), "both a party and an institution"),
        (("--party", "us=A", "--institution", "ornl=jp"), "institutions.ornl.party"),
        (("--party", "u s=A"), "no name for a key"),
        (("--team", "t=nobody"), "teams.t"),
        (("--name", "No Name"), "agreement.name"),
    ],
)
def test_terms_with_a_mistake_write_nothing(renkei: Renkei, tmp_path: Path, words: tuple[str, ...], part: str) -> None:
    said = renkei("agreement", "new", tmp_path / "a.toml", *words)
    assert (said.code, said.out) == (2, "")
    assert part in said.err
    assert list(tmp_path.iterdir()) == []


def test_an_agreement_that_is_there_is_never_overwritten(renkei: Renkei, file: Path) -> None:
    before = file.read_bytes()
    said = renkei("agreement", "new", file, *ROSTER)
    assert (said.code, "exists already" in said.err) == (2, True)
    assert file.read_bytes() == before
