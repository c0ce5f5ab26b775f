"""Envelopes: whatever is changed after signing is noticed."""

import msgspec
import pytest

from renkei.errors import Denied
from renkei.trust.envelope import Envelope, seal, unseal
from renkei.trust.keys import SIGNATURE_BYTES, Key

KEY = Key("us-fusion-lab", bytes(range(64)))
OTHER = Key("us-fusion-lab", bytes(64))
ENVELOPE = seal(KEY, "run-batch", b'{"runs": []}')


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def refused(envelope: Envelope, kind: str = "run-batch") -> str:
    with pytest.raises(Denied) as caught:
        unseal(envelope, KEY.public, kind)
    assert caught.value.context["signer"] == envelope.signer
    return caught.value.context["reason"]


def test_what_was_sealed_comes_out() -> None:
    assert ENVELOPE.signer == "us-fusion-lab"
    assert unseal(ENVELOPE, KEY.public, "run-batch") == b'{"runs": []}'


def test_an_envelope_survives_json() -> None:
    text = msgspec.json.encode(ENVELOPE)
    assert msgspec.json.decode(text, type=Envelope) == ENVELOPE
    assert b'"payload":"eyJydW5zIjogW119"' in text


def test_json_with_anything_besides_is_refused() -> None:
    text = msgspec.json.encode(ENVELOPE).replace(b'{"kind"', b'{"more":1,"kind"')
    with pytest.raises(msgspec.ValidationError, match="unknown field `more`"):
        msgspec.json.decode(text, type=Envelope)


def test_changing_any_byte_of_the_payload_is_noticed() -> None:
    for at in range(len(ENVELOPE.payload)):
        changed = msgspec.structs.replace(ENVELOPE, payload=flipped(ENVELOPE.payload, at))
        assert refused(changed) == "signature"


def test_changing_any_byte_of_the_signature_is_noticed() -> None:
    for at in range(SIGNATURE_BYTES):
        changed = msgspec.structs.replace(ENVELOPE, signature=flipped(ENVELOPE.signature, at))
        assert refused(changed) == "signature"


def test_changing_any_byte_of_the_signer_is_noticed() -> None:
    for at in range(len(ENVELOPE.signer)):
        signer = flipped(ENVELOPE.signer.encode(), at).decode()
        assert refused(msgspec.structs.replace(ENVELOPE, signer=signer)) == "signature"


def test_an_envelope_of_another_kind_is_refused_and_cannot_be_relabelled() -> None:
    assert refused(ENVELOPE, "approval") == "kind"
    assert refused(msgspec.structs.replace(ENVELOPE, kind="approval"), "approval") == "signature"


def test_another_key_of_the_same_name_is_refused() -> None:
    with pytest.raises(Denied, match=f"does not verify with key {OTHER.public.id}"):
        unseal(ENVELOPE, OTHER.public, "run-batch")


def test_moving_a_boundary_between_fields_is_noticed() -> None:
    envelope = seal(KEY, "kind", b"payload")
    moved = Envelope("kin", "d" + envelope.signer, envelope.payload, envelope.signature)
    assert refused(moved, "kin") == "signature"
    moved = Envelope("kind", envelope.signer[:-1], b"b" + envelope.payload, envelope.signature)
    assert refused(moved, "kind") == "signature"


def test_a_bare_signature_of_the_same_key_is_not_an_envelope() -> None:
    assert refused(Envelope("run-batch", KEY.name, b"x", KEY.sign(b"x"))) == "signature"
