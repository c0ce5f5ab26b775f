"""A home that works under a joint agreement, and a served site that is a home of its own."""

import os
from pathlib import Path

import pytest

from renkei.errors import AgreementError, ConfigError, UsageError
from renkei.home import Home, ServedSite, home_at
from renkei.model.agreement import load_agreement
from renkei.trust.endorsement import endorse, signatures_path
from renkei.trust.keys import Key
from served.pair import Pair


@pytest.fixture
def two(tmp_path: Path) -> Pair:
    return Pair(tmp_path, 10, {}, {})


def amended(two: Pair, old: str, new: str) -> Path:
    """Return the file of another agreement, signed by both parties, with something replaced."""
    path = two.folder / "other" / "agreement.toml"
    path.parent.mkdir()
    text = (two.folder / "agreement.toml").read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    for party in ("us", "jp"):
        endorse(Key.load(two.folder / "keys" / f"{party}.key"), load_agreement(path), path)
    return path


def test_a_joint_agreement_is_kept_with_its_signatures_and_the_key(two: Pair) -> None:
    home, path = Home(two.home), two.folder / "agreement.toml"
    for _ in range(2):  # doing it again changes nothing
        assert home.adopt(path, None, "fusion").name == "pair"
        assert home.agreement().digest == load_agreement(path).digest
        assert signatures_path(home.agreement_path).read_bytes() == signatures_path(path).read_bytes()
        assert [key.name for key in (two.home / "keys").iterdir()] == ["us-lab.key"]
        assert os.stat(two.home / "keys" / "us-lab.key").st_mode & 0o777 == 0o600  # noqa: PTH116


def test_the_key_may_be_named(two: Pair) -> None:
    Home(two.home).adopt(two.folder / "agreement.toml", two.folder / "keys" / "jp-lab.key", "fusion")
    assert [key.name for key in (two.home / "keys").iterdir()] == ["jp-lab.key"]


def test_a_key_that_the_agreement_does_not_have_is_refused(two: Pair) -> None:
    home, path = Home(two.home), two.folder / "agreement.toml"
    Key.generate("us-lab").save(two.folder / "forged.key")
    for key, team in ((two.folder / "forged.key", "fusion"), (two.folder / "keys/us.key", "fusion"), (None, "fission")):
        with pytest.raises(AgreementError, match="No key of an institution of team"):
            home.adopt(path, key, team)
    assert not home.agreement_path.exists(), "nothing is half-done"


def test_an_agreement_that_is_not_in_force_is_refused(two: Pair) -> None:
    signatures_path(two.folder / "agreement.toml").unlink()
    with pytest.raises(AgreementError, match="not in force"):
        Home(two.home).adopt(two.folder / "agreement.toml", None, "fusion")


def test_a_home_works_under_one_agreement_and_never_goes_back(two: Pair) -> None:
    home, key = Home(two.home), two.folder / "keys" / "us-lab.key"
    home.adopt(two.folder / "agreement.toml", None, "fusion")
    later = amended(two, "version = 1", "version = 2")
    assert home.adopt(later, key, "fusion").version == 2
    with pytest.raises(UsageError, match="works under agreement 'pair', version 2"):
        home.adopt(two.folder / "agreement.toml", key, "fusion")
    assert home.agreement().version == 2


def test_a_home_does_not_change_to_another_agreement(two: Pair) -> None:
    home, key = Home(two.home), two.folder / "keys" / "us-lab.key"
    home.adopt(two.folder / "agreement.toml", None, "fusion")
    with pytest.raises(UsageError, match="Work in another folder"):
        home.adopt(amended(two, 'name = "pair"', 'name = "trio"'), key, "fusion")
    assert home.agreement().name == "pair"


def test_the_file_of_a_site_is_the_home_of_that_site_alone(two: Pair) -> None:
    place = home_at(two.folder / "east.toml")
    assert isinstance(place, ServedSite)
    assert (place.sites(), place.path) == (["east"], two.folder / "data-east")
    assert place.site_path("east") == two.folder / "east.toml"
    assert place.site_ledger("east") == two.folder / "data-east" / "ledger.db"
    assert place.agreement().name == "pair"
    with pytest.raises(UsageError, match="is the file of site 'east', not of 'west'"):
        place.site_path("west")
    assert not isinstance(home_at(two.folder), ServedSite)


def test_a_site_without_an_agreement_says_so(two: Pair) -> None:
    path = two.folder / "east.toml"
    path.write_text(path.read_text().replace('agreement = "agreement.toml"\n', ""))
    with pytest.raises(ConfigError, match=r"site\.agreement: missing"):
        ServedSite(path).agreement()
