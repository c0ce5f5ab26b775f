"""Keys: what counts as a signature, and what a key file must be like."""

import hashlib
import stat
from itertools import count
from pathlib import Path

import pytest

from renkei.errors import UsageError
from renkei.trust.keys import ED25519_SIGNATURE_BYTES, SIGNATURE_BYTES, Key, PublicKey

KEY = Key("us-fusion-lab", bytes(range(64)))
OTHER = Key("jp-fusion-institute", bytes(64))
MESSAGE = b"eleven joint teams"
SIGNATURE = KEY.sign(MESSAGE)


def saved(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "site.key"
    KEY.save(path)
    path.chmod(mode)
    return path


def one_sentence(error: UsageError) -> bool:
    return error.message.endswith(".") and "\n" not in error.message and ". " not in error.message


def test_a_signature_verifies_over_its_own_message_with_its_own_key_alone() -> None:
    assert len(SIGNATURE) == SIGNATURE_BYTES
    assert KEY.public.verify(MESSAGE, SIGNATURE)
    assert not KEY.public.verify(MESSAGE + b".", SIGNATURE)
    assert not OTHER.public.verify(MESSAGE, SIGNATURE)


def test_both_halves_must_verify() -> None:
    good_ed25519, good_ml_dsa = SIGNATURE[:ED25519_SIGNATURE_BYTES], SIGNATURE[ED25519_SIGNATURE_BYTES:]
    elsewhere = KEY.sign(b"another message")
    assert KEY.public.verify(MESSAGE, good_ed25519 + good_ml_dsa)
    assert not KEY.public.verify(MESSAGE, good_ed25519 + elsewhere[ED25519_SIGNATURE_BYTES:])
    assert not KEY.public.verify(MESSAGE, elsewhere[:ED25519_SIGNATURE_BYTES] + good_ml_dsa)


@pytest.mark.parametrize(
    "signature", [b"", b"x", bytes(SIGNATURE_BYTES), SIGNATURE[:-1], SIGNATURE + b"\0"], ids=count()
)
def test_a_malformed_signature_is_just_wrong(signature: bytes) -> None:
    assert not KEY.public.verify(MESSAGE, signature)


def test_halves_of_two_keys_cannot_be_joined_into_a_third() -> None:
    joined = PublicKey(KEY.public.raw[:32] + OTHER.public.raw[32:])
    signature = SIGNATURE[:ED25519_SIGNATURE_BYTES] + OTHER.sign(MESSAGE)[ED25519_SIGNATURE_BYTES:]
    assert not joined.verify(MESSAGE, signature)


def test_signatures_are_of_a_domain_of_their_own() -> None:
    plain = KEY.ed25519.sign(MESSAGE) + KEY.ml_dsa.sign(MESSAGE)
    assert not KEY.public.verify(MESSAGE, plain)
    assert KEY.public.covered(MESSAGE).startswith(b"\x00")  # no text, so never a signed note


def test_a_public_key_survives_its_line_of_text() -> None:
    text = KEY.public.text
    assert text.startswith("renkei1:")
    assert "\n" not in text
    assert PublicKey.parse(text) == KEY.public
    assert PublicKey.parse(text) is PublicKey.parse(text)
    assert PublicKey.parse(text).verify(MESSAGE, SIGNATURE)
    assert len({PublicKey.parse(text), KEY.public, OTHER.public}) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "renkei1:",
        "renkei1:####",
        "renkei1:é",
        KEY.public.text[:-4],
        KEY.public.text + "\n",
        " " + KEY.public.text,
        KEY.public.text.replace("renkei1", "renkei2"),
        KEY.public.text.removeprefix("renkei1:"),
    ],
)
def test_a_public_key_in_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a public key") as caught:
        PublicKey.parse(text)
    assert one_sentence(caught.value)
    assert len(str(caught.value)) < 200


def test_a_public_key_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="1984 bytes, not 3"):
        PublicKey(b"abc")


def test_the_fingerprint_is_that_of_both_halves() -> None:
    assert KEY.public.id == hashlib.sha256(KEY.public.raw).hexdigest()[:32]
    assert KEY.public.id != OTHER.public.id


def test_the_same_seed_gives_the_same_key_and_generated_keys_differ() -> None:
    assert Key("other-name", bytes(range(64))).public == KEY.public
    assert Key.generate("a").public != Key.generate("a").public


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb", "a\x7f", "\ud800", "x" * 201])
def test_a_name_that_cannot_stand_in_a_signature_line_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a key"):
        Key(name, bytes(64))


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="64 bytes, not 32"):
        Key("name", bytes(32))


def test_a_saved_key_loads_as_the_same_key(tmp_path: Path) -> None:
    path = saved(tmp_path)
    loaded = Key.load(path)
    assert (loaded.name, loaded.public) == (KEY.name, KEY.public)
    assert KEY.public.verify(MESSAGE, loaded.sign(MESSAGE))


def test_a_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    KEY.save(tmp_path / "site.key")
    assert stat.S_IMODE((tmp_path / "site.key").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["site.key"]


def test_saving_never_overwrites(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(UsageError, match="exists already") as caught:
        OTHER.save(path)
    assert one_sentence(caught.value)
    assert Key.load(path).public == KEY.public
    assert [p.name for p in tmp_path.iterdir()] == ["site.key"]


def test_saving_into_no_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        KEY.save(tmp_path / "nowhere" / "site.key")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_key_file_that_others_may_touch_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    path = saved(tmp_path, mode)
    with pytest.raises(UsageError, match=f"mode {mode:o}") as caught:
        Key.load(path)
    assert one_sentence(caught.value)
    assert f"chmod 600 {path}" in caught.value.hint
    path.chmod(0o600)
    assert Key.load(path).public == KEY.public


def test_a_key_file_that_its_owner_cannot_write_is_fine(tmp_path: Path) -> None:
    assert Key.load(saved(tmp_path, 0o400)).public == KEY.public


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----",
        b"\xff\xfe",
        b"[]",
        b'{"format": "renkei-key-1", "name": "a", "ed25519": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0Li4="}',
        b'{"format": "renkei-key-1", "name": "a", "ed25519": "c2VjcmV0", "ml_dsa_65": "c2VjcmV0"}',
        b'{"format": "renkei-key-1", "name": "a", "ed25519": "?", "ml_dsa_65": "c2VjcmV0"}',
    ],
)
def test_a_broken_key_file_is_refused_without_showing_the_key(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is broken") as caught:
        Key.load(path)
    assert "\n" not in caught.value.message
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"), [("renkei-key-1", "renkei-key-2"), ('"name"', '"title"'), ('{"', '{"more":1,"'), ("}\n", "")]
)
def test_a_key_file_of_another_form_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = saved(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UsageError, match="is broken"):
        Key.load(path)


def test_a_key_file_with_an_impossible_name_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_text(path.read_text().replace("us-fusion-lab", "us fusion lab"))
    with pytest.raises(UsageError, match="is no name for a key"):
        Key.load(path)


def test_a_missing_key_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file or directory") as caught:
        Key.load(tmp_path / "none.key")
    assert one_sentence(caught.value)


def test_a_key_never_shows_its_seed() -> None:
    assert repr(KEY) == f"Key('us-fusion-lab', {KEY.public.id})"
    assert repr(KEY.public) == f"PublicKey({KEY.public.id})"
