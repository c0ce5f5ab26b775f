"""Checkpoints: signed notes as other verifiers expect them, and nothing else is believed."""

import base64
import hashlib
from itertools import count

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from renkei.errors import IntegrityBroken, UsageError
from renkei.ledger.merkle import EMPTY_ROOT
from renkei.trust.keys import Key
from renkei.trust.note import Checkpoint, parse_checkpoint, read_checkpoint, sign_checkpoint, vkey

KEY = Key("us-fusion-lab", bytes(range(64)))
OTHER = Key("jp-fusion-institute", bytes(64))
CHECKPOINT = Checkpoint("us-fusion-lab", 20852163, bytes(range(32)))
NOTE = sign_checkpoint(KEY, CHECKPOINT)
BODY, SIGNATURES = NOTE.split("\n\n")
FIRST, SECOND = SIGNATURES.splitlines()


def verify_as_c2sp(note: str, verifier_key: str) -> str:
    """Return the text of a note once a key in C2SP's own form verifies it: a second reading of the specification."""
    name, key_id, encoded = verifier_key.split("+", 2)
    kind, raw = base64.b64decode(encoded)[:1], base64.b64decode(encoded)[1:]
    assert kind == b"\x01"
    assert hashlib.sha256(name.encode() + b"\n" + kind + raw).hexdigest()[:8] == key_id
    text, lines = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 :]
    for line in lines.splitlines():
        dash, signer, signature = line.split(" ")
        data = base64.b64decode(signature)
        if (dash, signer, data[:4].hex()) == ("\u2014", name, key_id):
            Ed25519PublicKey.from_public_bytes(raw).verify(data[4:], text.encode())
            return text
    raise AssertionError("no signature of the key")


def test_a_signed_checkpoint_reads_back() -> None:
    assert read_checkpoint(NOTE, KEY.public) == CHECKPOINT
    assert parse_checkpoint(NOTE) == CHECKPOINT


def test_the_text_is_origin_size_and_root() -> None:
    assert BODY == "us-fusion-lab\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert FIRST.startswith("\u2014 us-fusion-lab ")
    assert SECOND.startswith("\u2014 us-fusion-lab ")


def test_other_verifiers_of_signed_notes_accept_the_ed25519_line() -> None:
    assert verify_as_c2sp(NOTE, vkey(KEY.public, "us-fusion-lab")) == BODY + "\n"
    with pytest.raises(InvalidSignature):
        verify_as_c2sp(NOTE.replace("20852163", "20852164"), vkey(KEY.public, "us-fusion-lab"))


def test_our_reading_of_c2sp_accepts_the_example_of_the_specification() -> None:
    note = (
        "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAl"
        "TgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    verify_as_c2sp(note, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")


def test_an_empty_ledger_has_a_checkpoint() -> None:
    empty = Checkpoint("new-site", 0, EMPTY_ROOT)
    assert read_checkpoint(sign_checkpoint(KEY, empty), KEY.public) == empty


@pytest.mark.parametrize(
    "changed",
    [
        NOTE.replace("us-fusion-lab\n", "us-fusion-lax\n", 1),
        NOTE.replace("us-fusion-lab", "us-fusion-lax"),
        NOTE.replace("20852163", "20852164"),
        NOTE.replace("AAEC", "BAEC"),
        f"{BODY}\nlater\n\n{SIGNATURES}",
    ],
    ids=count(),  # signatures differ from process to process
)
def test_a_changed_text_is_not_believed(changed: str) -> None:
    with pytest.raises(IntegrityBroken):
        read_checkpoint(changed, KEY.public)


@pytest.mark.parametrize(("kept", "missing"), [(FIRST, "ML-DSA-65"), (SECOND, "Ed25519")], ids=count())
def test_one_signature_is_not_enough(kept: str, missing: str) -> None:
    with pytest.raises(IntegrityBroken, match=f"lacks the {missing} signature"):
        read_checkpoint(f"{BODY}\n\n{kept}\n", KEY.public)


@pytest.mark.parametrize("algorithm", ["Ed25519", "ML-DSA-65"])
def test_each_signature_must_verify(algorithm: str) -> None:
    elsewhere = sign_checkpoint(KEY, Checkpoint("us-fusion-lab", 1, bytes(32))).splitlines()
    lines = (elsewhere[4], SECOND) if algorithm == "Ed25519" else (FIRST, elsewhere[5])
    with pytest.raises(IntegrityBroken, match=f"the {algorithm} signature of key {KEY.public.id} does not verify"):
        read_checkpoint(f"{BODY}\n\n{lines[0]}\n{lines[1]}\n", KEY.public)


def test_a_wrong_signature_beside_the_right_ones_is_not_believed() -> None:
    elsewhere = sign_checkpoint(KEY, Checkpoint("us-fusion-lab", 1, bytes(32))).splitlines()[4]
    with pytest.raises(IntegrityBroken, match="does not verify"):
        read_checkpoint(f"{NOTE}{elsewhere}\n", KEY.public)


def test_another_key_is_not_believed() -> None:
    with pytest.raises(IntegrityBroken, match="lacks the Ed25519 signature"):
        read_checkpoint(NOTE, OTHER.public)


def test_signatures_of_witnesses_are_left_alone() -> None:
    witness = sign_checkpoint(OTHER, CHECKPOINT).splitlines()[4].replace("us-fusion-lab", "witness.example/w1")
    assert read_checkpoint(f"{BODY}\n\n{witness}\n{SIGNATURES}", KEY.public) == CHECKPOINT


def test_extension_lines_are_read_past_but_signed() -> None:
    text = CHECKPOINT.text + "an extension\n"
    lines = sign_checkpoint(KEY, CHECKPOINT).splitlines()
    assert parse_checkpoint(f"{text}\n{lines[4]}\n") == CHECKPOINT
    with pytest.raises(IntegrityBroken, match="does not verify"):
        read_checkpoint(f"{text}\n{lines[4]}\n{lines[5]}\n", KEY.public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        BODY,
        BODY + "\n\n",
        NOTE[:-1],
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("\u2014", "-"),
        NOTE.replace("20852163", "020852163"),
        NOTE.replace("20852163", "-1"),
        NOTE.replace("20852163", "²"),
        NOTE.replace("20852163", "9" * 5000),
        NOTE.replace("GxwdHh8=", ""),
        NOTE.replace("Hh8=", "Hh9="),
        NOTE.replace("us-fusion-lab\n", "us fusion lab\n"),
        NOTE.replace("us-fusion-lab\n", "\ud800\n"),
        NOTE.replace("us-fusion-lab\n", "", 1),
        f"{BODY}\n\n\u2014 us-fusion-lab AAAA\n",
        f"{BODY}\n\n\u2014 us-fusion-lab ????????\n",
        f"{BODY}\n\n\u2014 us-fusion-lab\n",
        f"{BODY}\n\n{(FIRST + chr(10)) * 65}",
    ],
    ids=count(),  # signatures differ from process to process
)
def test_what_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(IntegrityBroken):
        parse_checkpoint(text)
    with pytest.raises(IntegrityBroken):
        read_checkpoint(text, KEY.public)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("two words", 1, bytes(32)),
        Checkpoint("a+b", 1, bytes(32)),
        Checkpoint("a\nb", 1, bytes(32)),
        Checkpoint("a", -1, bytes(32)),
        Checkpoint("a", 1, bytes(31)),
    ],
)
def test_what_cannot_stand_in_a_note_is_not_signed(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError):
        sign_checkpoint(KEY, checkpoint)


def test_a_note_is_no_signature_of_the_key_and_the_other_way_round() -> None:
    covered = CHECKPOINT.text.encode()
    pair = base64.b64decode(FIRST.split(" ")[2])[4:] + base64.b64decode(SECOND.split(" ")[2])[4:]
    assert not KEY.public.verify(covered, pair)
