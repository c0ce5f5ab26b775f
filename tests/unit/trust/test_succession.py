"""Amendments: in force only as the next version, signed by all parties of both versions."""

from pathlib import Path

import pytest

from agreement_files import another_key, changed, in_force, with_india, without, write
from fakes import agreement, key_of
from renkei.errors import AgreementError
from renkei.model.agreement import Agreement
from renkei.trust.endorsement import (
    endorse,
    require_signed,
    require_succession,
    signatures_path,
    succession_problems,
    unsigned_parties,
)


def refusal(old: Agreement, new: Agreement, path: Path) -> str:
    with pytest.raises(AgreementError) as caught:
        require_succession(old, new, path)
    assert "--against OLD" in caught.value.hint
    return caught.value.message


def test_an_amendment_that_all_signed_follows(tmp_path: Path) -> None:
    old, _ = in_force(tmp_path)
    new = with_india(old)
    assert (new.version, new.previous) == (2, old.digest)
    path = write(tmp_path, new, "us", "jp", "in")
    require_succession(old, new, path)
    require_signed(new, path)


@pytest.mark.parametrize("missing", ["us", "jp", "in"])
def test_it_is_not_in_force_while_one_party_has_not_signed(missing: str, tmp_path: Path) -> None:
    old, _ = in_force(tmp_path)
    new = with_india(old)
    path = write(tmp_path, new, *({"us", "jp", "in"} - {missing}))
    assert refusal(old, new, path).count(f"{missing}, ") == 1
    assert "has not signed" in refusal(old, new, path)


def test_signatures_under_the_version_before_do_not_count(tmp_path: Path) -> None:
    old, path = in_force(tmp_path)
    new = with_india(old)
    endorse(key_of("in"), new, path)
    assert refusal(old, new, path).count("signed another version of the file") == 2


def test_versions_come_one_by_one_and_name_the_one_before(tmp_path: Path) -> None:
    old, _ = in_force(tmp_path)
    second = changed(old)
    third = changed(second)
    path = write(tmp_path, third, "us", "jp")
    assert succession_problems(second, third, path) == []
    assert "version 2 comes next" in refusal(old, third, path)
    assert f"follows version {second.digest[:12]}" in refusal(old, third, path)
    alone = changed(old, lambda text: text.replace(f'previous = "{old.digest}"\n', ""))
    assert "follows no version" in refusal(old, alone, write(tmp_path, alone, "us", "jp"))
    again = changed(old, lambda text: text.replace("version = 2", "version = 4"))
    assert "version 4, and version 2 comes next" in refusal(old, again, write(tmp_path, again, "us", "jp"))
    other = changed(old, lambda text: text.replace('name = "us-japan"', 'name = "us-jp"', 1))
    assert "called 'us-jp'" in refusal(old, other, write(tmp_path, other, "us", "jp"))
    assert refusal(second, old, write(tmp_path, old, "us", "jp"))  # nothing goes back


def test_a_party_is_not_dropped_without_its_signature(tmp_path: Path) -> None:
    first, _ = in_force(tmp_path)
    old = with_india(first, {"guests": ("in-lab",)})
    new = changed(old, without("parties.in", "institutions.in-lab", "sites.in-site", "teams.guests"))
    assert list(new.parties) == ["us", "jp"]
    path = write(tmp_path, new, "us", "jp")
    require_signed(new, path)
    assert refusal(old, new, path).endswith("in, a party of version 2, has not signed.")
    endorse(key_of("in"), new, path, previous=old)
    require_succession(old, new, path)


def test_a_partys_key_is_not_changed_without_the_old_one(tmp_path: Path) -> None:
    old, _ = in_force(tmp_path)
    first, second = key_of("jp"), another_key("jp")
    new = changed(old, lambda text: text.replace(first.public.text, second.public.text))
    path = write(tmp_path, new, "us", second)
    require_signed(new, path)
    assert "jp, a party of version 1, The signature of 'jp' does not verify" in refusal(old, new, path)
    path = write(tmp_path, new, "us", first, previous=old)
    assert "jp, with its key of version 2, The signature" in refusal(old, new, path)
    endorse(second, new, path, previous=old)
    require_succession(old, new, path)
    endorse(first, new, path, previous=old)  # once more: nothing is lost
    require_succession(old, new, path)
    assert len(signatures_path(path).read_bytes().splitlines()) == 3


def test_a_stranger_signs_nothing_even_with_the_version_before_at_hand(tmp_path: Path) -> None:
    old, path = in_force(tmp_path)
    new = with_india(old)
    with pytest.raises(AgreementError, match="not a party"):
        endorse(key_of("outsider"), new, path, previous=old)
    with pytest.raises(AgreementError, match="another key"):
        endorse(another_key("us"), new, path, previous=old)


def test_a_signature_of_somebody_else_under_a_partys_name_does_not_count(tmp_path: Path) -> None:
    old, _ = in_force(tmp_path)
    new = with_india(old)
    path = write(tmp_path, new, "us", "jp", "in")
    lines = signatures_path(path).read_text().splitlines()
    signatures_path(path).write_text("\n".join(line.replace('"signer":"jp"', '"signer":"in"') for line in lines))
    assert "jp" in refusal(old, new, path)


def test_whoever_has_not_signed_is_told_for_another_versions_parties_too(tmp_path: Path) -> None:
    old = agreement()
    new = with_india(old)
    path = write(tmp_path, new, "us")
    assert unsigned_parties(old, path, signed=new) == {"jp": "has not signed"}
    assert list(unsigned_parties(new, path)) == ["jp", "in"]
