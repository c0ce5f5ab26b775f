"""Accession and revocation from the command line."""

from pathlib import Path

import pytest
from cli_example import Renkei

from renkei.model.agreement import load_agreement
from renkei.trust.endorsement import require_succession, signatures_path
from renkei.trust.keys import Key
from renkei.trust.revocation import read_notices, revocations_path

ROSTER = (
    *("--party", "us=United States", "--party", "jp=Japan"),
    *("--institution", "ornl=us", "--institution", "riken=jp"),
    *("--team", "fusion-energy=ornl,riken"),
)
INDIA = (
    *("--party", "in=India", "--institution", "iisc=in", "--site", "iisc-site=iisc:https://renkei.example.in:8440"),
    *("--team", "fusion-energy=iisc", "--team", "muons=iisc,riken"),
)


@pytest.fixture
def file(renkei: Renkei, tmp_path: Path) -> Path:
    path = tmp_path / "genesis.toml"
    assert renkei("agreement", "new", path, *ROSTER).code == 0
    path.write_text("# What we agreed on.\n" + path.read_text())
    for party in ("us", "jp"):
        assert renkei("agreement", "sign", path, "--key", key(path, party)).code == 0
    return path


def key(file: Path, name: str) -> Path:
    return file.parent / "keys" / f"{name}.key"


def test_a_third_party_accedes_once_all_have_signed(renkei: Renkei, file: Path) -> None:
    before = file.read_bytes()
    said = renkei("agreement", "accede", file, *INDIA)
    assert said.code == 0, said.err
    new = file.parent / "genesis-2.toml"
    assert "party 'in' is new: name 'India'" in said.out
    assert "team 'fusion-energy' gains institution 'iisc'" in said.out
    assert f"renkei agreement sign {new} --against {file} --key KEYFILE   (us, jp, in)" in said.out
    assert file.read_bytes() == before
    assert new.read_text().startswith("# What we agreed on.\n")
    assert load_agreement(new).sites["iisc-site"].url == "https://renkei.example.in:8440"
    assert key(file, "in").stat().st_mode & 0o777 == 0o600

    unsigned = renkei("agreement", "check", new, "--against", file)
    assert unsigned.code == 3
    assert "jp, a party of version 1, has not signed" in unsigned.out
    for party, rest in (("us", "still to sign: jp, in"), ("in", "still to sign: jp"), ("jp", "every party has signed")):
        signed = renkei("agreement", "sign", new, "--against", file, "--key", key(file, party))
        assert (signed.code, rest in signed.out) == (0, True)
    checked = renkei("agreement", "check", new, "--against", file)
    assert (checked.code, "site 'iisc-site' is new" in checked.out) == (0, True)
    require_succession(load_agreement(file), load_agreement(new), new)
    third = renkei("agreement", "accede", new, "--party", "kr=Korea", "--json")
    assert (third.code, third.records[0]["file"]) == (0, str(file.parent / "genesis-3.toml"))
    assert third.records[0]["previous"] == load_agreement(new).digest
    assert third.records[0]["changes"][0].startswith("party 'kr' is new")


def test_a_check_lists_what_an_accession_would_do_besides(renkei: Renkei, file: Path) -> None:
    new = file.parent / "new.toml"
    assert renkei("agreement", "accede", file, *INDIA, "--out", new).code == 0
    new.write_text(new.read_text().replace('effect = "allow"', 'effect = "ask"'))
    (record,) = renkei("agreement", "check", new, "--against", file, "--json").records
    assert any(change.startswith("rule 'open-research' says ask") for change in record["changes"])
    assert (record["in_force"], len(record["problems"])) == (False, 3)
    assert record["previous"] == load_agreement(file).digest
    (alone,) = renkei("agreement", "check", file, "--json").records
    assert "changes" not in alone


def test_whoever_brings_a_key_gets_none(renkei: Renkei, file: Path, tmp_path: Path) -> None:
    theirs = Key.generate("in")
    option = f"in=India, the Republic:{theirs.public.text}"
    assert renkei("agreement", "accede", file, "--party", option).code == 0
    party = load_agreement(file.parent / "genesis-2.toml").parties["in"]
    assert (party.name, party.key) == ("India, the Republic", theirs.public.text)
    assert not key(file, "in").exists()


def test_a_changed_key_is_signed_with_both(renkei: Renkei, file: Path) -> None:
    new, fresh = file.parent / "new.toml", Key.generate("jp")
    fresh.save(file.parent / "jp-2.key")
    assert renkei("agreement", "accede", file, "--party", "in=India", "--out", new).code == 0
    new.write_text(new.read_text().replace(Key.load(key(file, "jp")).public.text, fresh.public.text))
    for each in (key(file, "us"), key(file, "in"), file.parent / "jp-2.key"):
        signed = renkei("agreement", "sign", new, "--against", file, "--key", each)
    assert "still to sign: jp (as in version 1)" in signed.out
    assert renkei("agreement", "check", new, "--against", file).code == 3
    assert renkei("agreement", "sign", new, "--key", key(file, "jp")).code == 3
    assert "every party" in renkei("agreement", "sign", new, "--against", file, "--key", key(file, "jp")).out
    assert renkei("agreement", "check", new, "--against", file).code == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--party", "in"), "not what --party takes"),
        (("--party", "us=Again"), "'us' is in the agreement already"),
        (("--party", "riken=Again"), "'riken' is in the agreement already"),
        (("--party", "in=India", "--institution", "in=in"), "'in' is in the agreement already"),
        (("--party", "in=India", "--site", "ornl=riken"), "site 'ornl' already"),
        (("--party", "in=India", "--institution", "iisc=un"), "institutions.iisc.party"),
        (("--party", "in=India", "--team", "fusion-energy=iisc"), "teams.fusion-energy.institutions"),
        (("--party", "in=India", "--site", "x=ornl:ftp://x"), "sites.x.url"),
        (("--party", "in=India:renkei1:AAAA"), "not a public key"),
        (("--party", f"in=:{Key.generate('in').public.text}"), "parties.in.name"),
        (("--party", "In=India"), "In"),
        ((), "--party"),
    ],
)
def test_an_accession_with_a_mistake_writes_nothing(
    renkei: Renkei, file: Path, words: tuple[str, ...], part: str
) -> None:
    before = sorted(file.parent.rglob("*"))
    said = renkei("agreement", "accede", file, *words)
    assert (said.code, said.out) == (2, "")
    assert part in said.err
    assert sorted(file.parent.rglob("*")) == before


def test_only_what_is_in_force_is_amended_and_nothing_is_overwritten(renkei: Renkei, file: Path) -> None:
    assert renkei("agreement", "accede", file, "--party", "in=India").code == 0
    said = renkei("agreement", "accede", file, "--party", "in=India")
    assert (said.code, "exists already" in said.err) == (2, True)
    signatures_path(file).unlink()
    said = renkei("agreement", "accede", file, "--party", "kr=Korea", "--out", file.parent / "kr.toml")
    assert (said.code, "not in force" in said.err) == (3, True)
    assert not (file.parent / "kr.toml").exists()
    assert not key(file, "kr").exists()


def test_any_party_revokes_alone(renkei: Renkei, file: Path) -> None:
    words = ("agreement", "revoke", file, "--reason", "Its key was stolen.")
    said = renkei(*words, "--institution", "riken", "--key", key(file, "us"))
    assert said.code == 0
    assert f"us revokes 'riken' with its key {Key.load(key(file, 'riken')).public.id}" in said.out
    key_id = Key.load(key(file, "ornl")).public.id
    (record,) = renkei(*words, "--key-id", key_id.upper(), "--key", key(file, "jp"), "--json").records
    assert (record["by"], record["notice"]["key"], record["notice"]["institution"]) == ("jp", key_id, "")
    given, problems = read_notices(load_agreement(file), file)
    assert ([each.by for each in given], problems) == (["us", "jp"], [])


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("--reason", "x", "--key", "us"), 2, "either --institution or --key-id"),
        (("--institution", "riken", "--key-id", "ab", "--reason", "x", "--key", "us"), 2, "either --institution"),
        (("--institution", "riken", "--reason", " ", "--key", "us"), 2, "needs a reason"),
        (("--institution", "riken", "--key", "us"), 2, "--reason"),
        (("--institution", "rikn", "--reason", "x", "--key", "us"), 3, "Did you mean 'riken'"),
        (("--key-id", "ab", "--reason", "x", "--key", "us"), 3, "has the key 'ab'"),
        (("--institution", "riken", "--reason", "x", "--key", "ornl"), 3, "cannot revoke"),
    ],
)
def test_a_revocation_with_a_mistake_writes_nothing(
    renkei: Renkei, file: Path, words: tuple[str, ...], code: int, part: str
) -> None:
    *rest, name = words
    said = renkei("agreement", "revoke", file, *rest, key(file, name))
    assert (said.code, part in said.err) == (code, True), said.err
    assert not revocations_path(file).exists()


def test_nothing_is_revoked_under_an_agreement_that_is_not_in_force(renkei: Renkei, file: Path) -> None:
    signatures_path(file).unlink()
    words = ("--institution", "riken", "--reason", "x", "--key", key(file, "us"))
    said = renkei("agreement", "revoke", file, *words)
    assert (said.code, "not in force" in said.err) == (3, True)
