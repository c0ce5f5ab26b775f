"""Notices of revocation: given by a party, read by whoever has the agreement."""

from pathlib import Path

import msgspec
import pytest

from agreement_files import another_key, in_force
from fakes import key_of
from renkei.errors import AgreementError
from renkei.trust.envelope import seal
from renkei.trust.revocation import KIND, Notice, read_notices, revocations_path, revoke


def test_a_partys_notice_is_found_beside_the_agreement(tmp_path: Path) -> None:
    terms, path = in_force(tmp_path)
    assert read_notices(terms, path) == ([], [])
    notice = revoke(key_of("us"), terms, path, 5.0, "Its key was stolen.", institution="jp-lab")
    assert notice == Notice("us-japan", 1, "jp-lab", key_of("jp-lab").public.id, 5.0, "Its key was stolen.")
    other = revoke(key_of("jp"), terms, path, 6.0, "Lost.", key_id=key_of("us-lab").public.id)
    assert other.institution == ""
    given, problems = read_notices(terms, path)
    assert problems == []
    assert [(each.by, each.notice) for each in given] == [("us", notice), ("jp", other)]
    assert len({each.digest for each in given}) == 2


def test_only_a_party_revokes_and_only_who_is_there(tmp_path: Path) -> None:
    terms, path = in_force(tmp_path)
    for key in (key_of("us-lab"), another_key("us")):
        with pytest.raises(AgreementError, match="cannot revoke anybody"):
            revoke(key, terms, path, 5.0, "No.", institution="jp-lab")
    with pytest.raises(AgreementError, match="Did you mean 'jp-lab'"):
        revoke(key_of("us"), terms, path, 5.0, "No.", institution="jp-labs")
    with pytest.raises(AgreementError, match="No institution of the agreement has the key 'ab'"):
        revoke(key_of("us"), terms, path, 5.0, "No.", key_id="ab")
    assert not revocations_path(path).exists()


def test_what_no_party_signed_is_passed_over_and_told(tmp_path: Path) -> None:
    terms, path = in_force(tmp_path)
    notice = Notice("us-japan", 1, "jp-lab", key_of("jp-lab").public.id, 5.0, "No.")
    elsewhere = msgspec.structs.replace(notice, agreement="another")
    file = revocations_path(path)

    def line(key: object, payload: bytes, kind: str = KIND) -> bytes:
        return msgspec.json.encode(seal(key, kind, payload))  # type: ignore[arg-type]

    plain = msgspec.json.encode(notice)
    good = line(key_of("us"), plain)
    lines = {
        good: "",
        line(key_of("us-lab"), plain): "is not a party",
        line(another_key("us"), plain): "does not verify",
        line(key_of("us"), plain, "run-batch"): "not 'renkei/revocation/1'",
        line(key_of("us"), msgspec.json.encode(elsewhere)): "about the agreement 'another'",
        line(key_of("us"), b"{}"): "not readable",
        good.replace(b'"signer":"us"', b'"signer":"jp"'): "does not verify",
        good[:100]: "not readable",
        b"\xff\xfe": "not readable",
        b"[" * 5000: "not readable",
        b"": "",
    }
    file.write_bytes(b"\n".join(lines))
    given, problems = read_notices(terms, path)
    assert [each.notice for each in given] == [notice]
    expected = [f"line {n}: " for n, why in enumerate(lines.values(), 1) if why]
    assert len(problems) == len(expected)
    for problem, where, why in zip(problems, expected, filter(None, lines.values()), strict=True):
        assert where in problem
        assert why in problem


def test_a_half_written_line_does_not_swallow_the_next_notice(tmp_path: Path) -> None:
    terms, path = in_force(tmp_path)
    revocations_path(path).write_bytes(b'{"kind":"ren')
    revoke(key_of("us"), terms, path, 5.0, "Stolen.", institution="jp-lab")
    given, problems = read_notices(terms, path)
    assert (len(given), len(problems)) == (1, 1)


def test_notices_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    terms, path = in_force(tmp_path)
    revocations_path(path).mkdir()
    with pytest.raises(AgreementError, match="cannot be read"):
        read_notices(terms, path)
