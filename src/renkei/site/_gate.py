"""A site's gate: it opens what a member of the agreement signed for this site just now, and each batch once."""

import hashlib
from typing import Any, TypeVar

import msgspec

from renkei.clock import Clock
from renkei.errors import AgreementError, Denied, Expired, Replayed
from renkei.federation import CANCEL_BATCH, PASS, RUN_BATCH, CancelBatch, Pass, RunBatch
from renkei.ledger import Ledger
from renkei.model.records import RequestRefused, read_record
from renkei.site._terms import Terms
from renkei.trust.envelope import Envelope, unseal
from renkei.trust.keys import PublicKey

FRESH_S = 300.0
"""How far a batch's time of issue may be from the site's clock."""

_Inside = TypeVar("_Inside", RunBatch, CancelBatch, Pass)

_KINDS: dict[type, str] = {RunBatch: RUN_BATCH, CancelBatch: CANCEL_BATCH, Pass: PASS}
_READERS: dict[type, msgspec.json.Decoder[Any]] = {type_: msgspec.json.Decoder(type_) for type_ in _KINDS}


class Gate:
    """Lets in who may speak to a site; whom it turns away, it writes down with the reason.

    Args:
        site: The site's name in the agreement.
        terms: Who belongs, and who was revoked.
        ledger: Where refusals are written; the batches that came before are in it.
        clock: Time.
    """

    def __init__(self, site: str, terms: Terms, ledger: Ledger, clock: Clock) -> None:
        self._site, self._terms, self._ledger, self._clock = site, terms, ledger, clock
        self._batches: dict[bytes, float] = {}  # when each recent batch came, by the digest of its signature

    async def open(self, envelope: Envelope, inside: type[_Inside]) -> _Inside:
        """Return what is in an envelope.

        Raises:
            AgreementError: It is forged, stale, for somebody else, came before or is of another kind than `inside`,
                or its signer is no member; this is on disk then.
        """
        try:
            return self._opened(envelope, inside)
        except AgreementError as error:
            await self._turn_away(envelope.signer, error.message)
            raise

    async def vouch(self, by: str, institution: str) -> None:
        """Let in a user whom the site itself knows, in the name of an institution.

        Raises:
            Expired: The agreement is not in its term.
            Denied: The institution is revoked.
        """
        self._terms.require_term(self._clock.now())
        try:
            self._terms.require_standing(institution)
        except Denied as error:
            await self._turn_away(institution, f"{error.message} (asked by {by[:100]})")
            raise

    def recall(self) -> None:
        """Take up from the ledger which batches came so recently that they would still be fresh."""
        ledger, since, n = self._ledger, self._clock.now() - 2 * FRESH_S, 1024
        while n < ledger.size and read_record(ledger.read(ledger.size - n)).at >= since:
            n *= 4
        for raw in ledger.read_from(ledger.size - n):
            if b'"kind":"batch.received"' in raw[:100]:
                record = read_record(raw)
                self._batches[hashlib.sha256(record.body.signature).digest()] = record.at

    def _opened(self, envelope: Envelope, inside: type[_Inside]) -> _Inside:
        institution = self._terms.agreement.institutions.get(envelope.signer)
        if institution is None:
            raise Denied(f"'{envelope.signer[:60]}' is not an institution of the agreement.")
        now = self._clock.now()
        self._terms.require_term(now)
        self._terms.require_standing(envelope.signer)
        payload = unseal(envelope, PublicKey.parse(institution.key), _KINDS[inside])
        try:
            payload.decode()  # all of it, since it is kept as text; what is read of it may be only a part
            batch: _Inside = _READERS[inside].decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Denied(f"The batch is not readable: {error}.") from error
        if batch.audience != self._site:
            raise Denied(f"The batch is for '{batch.audience[:60]}', not for '{self._site}'.")
        if batch.institution != envelope.signer:
            raise Denied(f"The batch speaks for '{batch.institution[:60]}', but '{envelope.signer}' signed it.")
        if abs(now - batch.issued_at) > FRESH_S:
            raise Expired("The batch was issued too long ago, or in the future.", "Check the clocks.")
        if inside is not Pass and self._is_replay(envelope.signature, now):
            raise Replayed("The batch came before: it is not taken twice.", "Sign the requests anew.")
        return batch

    def _is_replay(self, signature: bytes, now: float) -> bool:
        """Return whether a batch with this signature came before, and remember it for as long as it is fresh."""
        digest = hashlib.sha256(signature).digest()
        if digest in self._batches:
            return True
        self._batches[digest] = now
        while (oldest := next(iter(self._batches))) and self._batches[oldest] < now - 2 * FRESH_S:
            del self._batches[oldest]
        return False

    async def _turn_away(self, who: str, why: str) -> None:
        self._ledger.append(RequestRefused(who[:100], why))
        await self._ledger.sync()
