"""Keys, envelopes and notes, for any content and against any change."""

import hashlib
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renkei.errors import Denied, IntegrityBroken, UsageError
from renkei.trust.envelope import Envelope, seal, unseal
from renkei.trust.keys import SIGNATURE_BYTES, Key, PublicKey
from renkei.trust.note import Checkpoint, parse_checkpoint, read_checkpoint, sign_checkpoint


def arbitrary(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=8).map(lambda seed: hashlib.shake_256(seed).digest(length))


KEY = Key("us-fusion-lab", bytes(range(64)))
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
origins = st.from_regex(r"[a-z0-9./-]{1,30}", fullmatch=True)
checkpoints = st.builds(Checkpoint, origins, st.integers(0, 2**62), st.binary(min_size=32, max_size=32))


@given(st.binary(max_size=300))
@settings(max_examples=30, deadline=None)
def test_any_message_can_be_signed(message: bytes) -> None:
    assert KEY.public.verify(message, KEY.sign(message))


@given(st.binary(max_size=20), st.binary(max_size=10) | arbitrary(SIGNATURE_BYTES))
@settings(max_examples=50, deadline=None)
def test_no_bytes_happen_to_be_a_signature(message: bytes, signature: bytes) -> None:
    assert not KEY.public.verify(message, signature)


@given(arbitrary(1984), arbitrary(SIGNATURE_BYTES))
@settings(max_examples=30, deadline=None)
def test_a_key_of_arbitrary_bytes_verifies_nothing_and_raises_nothing(raw: bytes, signature: bytes) -> None:
    key = PublicKey(raw)
    assert PublicKey.parse(key.text) == key
    assert not key.verify(b"message", signature)


@given(st.text(max_size=40) | st.text(max_size=40).map("renkei1:".__add__))
def test_text_that_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        PublicKey.parse(text)


@given(words, st.binary(max_size=300))
@settings(max_examples=30, deadline=None)
def test_any_payload_of_any_kind_travels_through_json(kind: str, payload: bytes) -> None:
    text = msgspec.json.encode(seal(KEY, kind, payload))
    assert unseal(msgspec.json.decode(text, type=Envelope), KEY.public, kind) == payload


@given(words, words, words, st.binary(max_size=20), st.binary(max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_signature_serves_one_kind_signer_and_payload_only(
    kind: str, other: str, signer: str, payload: bytes, instead: bytes
) -> None:
    envelope = seal(KEY, kind, payload)
    changed = Envelope(other, signer, instead, envelope.signature)
    if changed == envelope:
        return
    with pytest.raises(Denied):
        unseal(changed, KEY.public, other)


@given(checkpoints)
@settings(max_examples=30, deadline=None)
def test_any_checkpoint_reads_back(checkpoint: Checkpoint) -> None:
    assert read_checkpoint(sign_checkpoint(KEY, checkpoint), KEY.public) == checkpoint


NOTED = Checkpoint("us-fusion-lab", 7, bytes(32))
NOTE = sign_checkpoint(KEY, NOTED)


@given(
    st.integers(0, 150) | st.integers(0, len(NOTE) - 1),
    st.characters(max_codepoint=0x2014) | st.sampled_from("\n 0+="),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_change_of_one_character_makes_a_note_say_something_else(at: int, character: str, insert: bool) -> None:
    changed = NOTE[:at] + character + NOTE[at if insert else at + 1 :]
    with suppress(IntegrityBroken):
        assert read_checkpoint(changed, KEY.public) == NOTED


@given(st.text(max_size=80) | st.text(max_size=40).map((NOTE[:70]).__add__))
def test_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(IntegrityBroken):
        parse_checkpoint(text)
