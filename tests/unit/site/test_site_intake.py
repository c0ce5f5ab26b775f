"""What a site does with requests: refuse the batch, answer it again, refuse a run with every reason, or accept it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import anyio
import msgspec
import pytest

from fakes import (
    FakeExecutor,
    HeldClock,
    agreement,
    balance,
    batch,
    key_of,
    kinds,
    listening,
    offered,
    records,
    request,
    said,
    settled,
    site,
    succeed,
)
from hand_clock import HandClock
from renkei.errors import AgreementError, Denied, Expired
from renkei.federation import CANCEL_BATCH, RUN_BATCH
from renkei.ledger import LedgerReader, verify
from renkei.model.rule import Rule
from renkei.site import Runs, Site
from renkei.trust.envelope import Envelope, seal
from renkei.trust.note import read_checkpoint

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(folder: Path, clock: HandClock, **options: object) -> AsyncGenerator[tuple[Site, FakeExecutor]]:
    executor = FakeExecutor(capacity=int(options.pop("capacity", 1000)))  # type: ignore[call-overload]
    async with site(folder, clock, executor, **options).opened() as here:  # type: ignore[arg-type]
        yield here, executor


async def test_a_signed_batch_gets_a_durable_receipt_for_each_run_in_order(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        asked = [request() for _ in range(5)]
        raws = await here.submit(batch(here, *asked))
        with LedgerReader(tmp_path / "us-site" / "ledger.db") as on_disk:
            durable = {record.raw for record in on_disk.records()}
        assert set(raws) <= durable
        receipts = await said(here, *asked)
    assert [(r.kind, r.body.run, r.body.request) for r in receipts] == [
        ("run.accepted", a.run, a.digest) for a in asked
    ]
    assert executor.taken == [a.run for a in asked]


async def test_the_batch_is_kept_as_it_was_signed_and_receipts_point_at_it(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, _):
        envelope = batch(here, request())
        await here.submit(envelope)
        received, accepted = records(here, "batch.received", "run.accepted")
    assert received.body.payload.encode() == envelope.payload
    assert (received.body.signer, received.body.signature) == ("us-lab", envelope.signature)
    assert accepted.body.batch == received.seq
    assert (accepted.body.institution, accepted.body.team) == ("us-lab", "fusion")


def forged(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, signature=envelope.signature[:-1] + bytes([envelope.signature[-1] ^ 1]))


def altered(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, payload=envelope.payload.replace(b'"x":0.5', b'"x":0.6'))


def garbage(payload: bytes, kind: str = RUN_BATCH) -> Envelope:
    return seal(key_of("us-lab"), kind, payload)


WRONG = {
    "forged": (lambda here: forged(batch(here, request())), Denied, "signature of 'us-lab' does not verify"),
    "altered": (lambda here: altered(batch(here, request())), Denied, "signature of 'us-lab' does not verify"),
    "signed by a key that is not the signer's": (
        lambda here: msgspec.structs.replace(batch(here, request(), signer="jp-lab"), signer="us-lab"),
        Denied,
        "does not verify",
    ),
    "of nobody": (
        lambda here: batch(here, request(), signer="stranger"),
        Denied,
        "'stranger' is not an institution of the agreement",
    ),
    "for another site": (
        lambda here: batch(here, request(), audience="jp-site"),
        Denied,
        "is for 'jp-site', not for 'us-site'",
    ),
    "in another's name": (
        lambda here: batch(here, request(), signer="outsider", institution="us-lab"),
        Denied,
        "speaks for 'us-lab', but 'outsider' signed it",
    ),
    "too old": (
        lambda here: batch(here, request(), issued_at=here.ledger.clock.now() - 301),
        Expired,
        "too long ago, or in the future",
    ),
    "of the future": (
        lambda here: batch(here, request(), issued_at=here.ledger.clock.now() + 301),
        Expired,
        "too long ago, or in the future",
    ),
    "of another kind": (lambda here: garbage(b"{}", CANCEL_BATCH), Denied, "holds 'renkei/cancel-batch/1'"),
    "not JSON": (lambda here: garbage(b"nonsense"), Denied, "is not readable"),
    "not a batch": (lambda here: garbage(b'{"audience":"us-site"}'), Denied, "is not readable"),
    "not text": (
        lambda here: garbage(batch(here, request()).payload[:-1] + b',"more":"\xff"}'),
        Denied,
        "is not readable",
    ),
    "too deep": (
        lambda here: garbage(batch(here, request()).payload[:-1] + b',"more":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        Denied,
        "is not readable",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_batch_that_is_not_right_is_refused_with_its_reason_and_changes_nothing_else(
    what: str, tmp_path: Path, clock: HandClock
) -> None:
    make, error, reason = WRONG[what]
    async with opened(tmp_path, clock) as (here, executor):
        before = kinds(here)
        with pytest.raises(error, match=reason) as refusal:
            await here.submit(make(here))
        assert kinds(here) == [*before, "request.refused"]
        (refused,) = records(here, "request.refused")
        assert refused.body.reason == refusal.value.message
        assert not here.runs.rows
        assert balance(here) == (100, 0, 0)
        assert executor.taken == []
        assert [r.kind for r in await said(here, request())] == ["run.accepted"]


async def test_nothing_is_taken_once_the_agreement_ended(tmp_path: Path, clock: HandClock) -> None:
    terms = agreement(ends=date(2027, 1, 15))
    async with opened(tmp_path, clock, terms=terms) as (here, executor):
        await said(here, request())
        clock.time = terms.ends
        with pytest.raises(Expired, match="'us-japan' is not in its term"):
            await here.submit(batch(here, request()))
        assert kinds(here)[-1] == "request.refused"
    assert len(executor.taken) == 1


async def test_the_same_request_again_gets_the_same_record_and_runs_once(tmp_path: Path, clock: HandClock) -> None:
    asked = request()
    async with opened(tmp_path, clock) as (here, executor):
        first = await here.submit(batch(here, asked))
        again = await here.submit(batch(here, asked))
        twice = await here.submit(batch(here, asked, asked))
        assert [*first] * 2 == [*again, *again] == [*twice]
        assert balance(here) == (99, 1, 0)
        fresh = request()
        both = await here.submit(batch(here, fresh, fresh))
        assert both[0] == both[1]
        assert balance(here) == (98, 2, 0)
    assert executor.taken == [asked.run, fresh.run]


async def test_the_same_request_after_a_restart_gets_the_same_record(tmp_path: Path, clock: HandClock) -> None:
    asked, denied = request(), request(purpose="weapons")
    async with opened(tmp_path, clock) as (here, executor):
        first = await here.submit(batch(here, asked, denied))
        await executor.succeed(asked.run)
        ended = (await here.find([asked.run]))[0]
    async with opened(tmp_path, clock) as (here, executor):
        again = await here.submit(batch(here, asked, denied))
        assert again == [ended, first[1]]
        assert balance(here) == (99, 0, 1)
    assert executor.taken == []


async def test_the_same_id_for_something_else_is_a_conflict_and_leaves_the_run_alone(
    tmp_path: Path, clock: HandClock
) -> None:
    asked = request()
    other = request(run=asked.run, parameters={"x": 0.9, "y": 1.0}, campaign="other")
    async with opened(tmp_path, clock) as (here, executor), listening(here) as heard:
        first = await here.submit(batch(here, asked))
        (conflict,) = await said(here, other)
        assert (conflict.kind, conflict.body.code) == ("run.refused", "conflict")
        assert [reason.id for reason in conflict.body.reasons] == ["run.conflict"]
        assert await here.find([asked.run]) == list(first)
        assert executor.jobs[asked.run].parameters["x"] == 0.5
        assert balance(here) == (99, 1, 0)
        await settled()
        assert heard == []
        await executor.succeed(asked.run)
        await settled()
        assert [r.kind for r in heard] == ["run.ended"]


async def test_two_requests_of_one_id_in_a_batch_conflict(tmp_path: Path, clock: HandClock) -> None:
    asked = request()
    async with opened(tmp_path, clock) as (here, executor):
        first, second = await said(here, asked, request(run=asked.run, parameters={"x": 0.9}))
        assert (first.kind, second.body.code) == ("run.accepted", "conflict")
        assert balance(here) == (99, 1, 0)
    assert executor.taken == [asked.run]


async def test_a_conflict_before_an_approval_is_kept_from_the_campaign(tmp_path: Path) -> None:
    clock = HeldClock()
    rule = Rule("hot", "ask", purposes=("hot",))
    asked = request(purpose="hot")
    async with opened(tmp_path, clock, rules=(rule,)) as (here, _), listening(here) as heard:
        await said(here, asked)
        async with anyio.create_task_group() as tasks:
            clock.hold()
            tasks.start_soon(here.submit, batch(here, request()))  # holds the commit that the two then share
            await settled()
            tasks.start_soon(here.submit, batch(here, request(run=asked.run)))
            await settled()
            tasks.start_soon(here.decide, asked.run, "ada", True)
            await settled()
            clock.release()
        await settled()
        assert [(r.kind, r.body.run) for r in heard] == [("run.accepted", asked.run)]


INVALID = {
    "an id that is no UUIDv7": (dict(run="run-1"), "invalid", ["run.id"]),
    "an id of another spelling": (dict(run="0198C7A0-1B2C-7000-8F3E-5D2A9C4B1E77"), "invalid", ["run.id"]),
    "an unknown procedure": (dict(procedure="lab.guess"), "invalid", ["procedure.unknown"]),
    "another version": (dict(version="2.0"), "invalid", ["procedure.version"]),
    "parameters that do not fit": (
        dict(parameters={"x": 7.0, "y": "blue", "z": 1}),
        "invalid",
        ["parameters", "parameters", "parameters"],
    ),
    "no parameters": (dict(parameters={}), "invalid", ["parameters"]),
    "a team that there is not": (dict(team="ghosts"), "denied", ["agreement.team"]),
    "a team of others": (dict(team="quantum"), "denied", ["agreement.team"]),
}


@pytest.mark.parametrize("what", INVALID)
async def test_a_run_that_cannot_be_is_refused_with_every_reason(what: str, tmp_path: Path, clock: HandClock) -> None:
    changes, code, reasons = INVALID[what]
    async with opened(tmp_path, clock) as (here, executor):
        good = request()
        refused, accepted = await said(here, request(**changes), good)
        assert (refused.kind, refused.body.code) == ("run.refused", code)
        assert [reason.id for reason in refused.body.reasons] == reasons
        assert accepted.kind == "run.accepted"
        assert balance(here) == (99, 1, 0)
    assert executor.taken == [good.run]


async def test_a_refusal_says_what_is_wrong_in_words(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, _):
        (bad,) = await said(here, request(parameters={"x": 7.0, "y": "blue", "z": 1}))
        (team,) = await said(here, request(team="quantum"))
        (version,) = await said(here, request(version="2.0"))
    texts = " ".join(reason.text for record in (bad, team, version) for reason in record.body.reasons)
    for words in (
        "z: no such parameter",
        "x: 7.0 is outside [0.0, 1.0]",
        "y: found 'blue', expected a number",
        "'us-lab' is not an institution of team 'quantum'",
        "offers version 1.0, not 2.0",
    ):
        assert words in texts


async def test_defaults_are_filled_in_and_no_version_means_the_one_on_offer(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock) as (here, executor):
        asked = request(parameters={"x": 0.25}, version="")
        (accepted,) = await said(here, asked)
        assert (accepted.body.parameters, accepted.body.version) == ({"x": 0.25, "y": 5.0}, "1.0")
        assert executor.jobs[asked.run].parameters == {"x": 0.25, "y": 5.0}


POLICY = """
@id("us.no-hot-runs")
@reason("Not above 0.9.")
forbid (principal, action == Action::"lab.measure", resource)
when { context.parameters.x.greaterThan(decimal("0.9")) };

@id("us.warm-runs")
@ask("The shift leader has to know.")
permit (principal, action == Action::"lab.measure", resource)
when { context.parameters.x.greaterThan(decimal("0.8")) };
"""


async def test_agreement_and_site_policy_decide_and_name_their_rules(tmp_path: Path, clock: HandClock) -> None:
    rule = Rule("no-export", "deny", purposes=("export",), reason="Nothing leaves.")
    async with opened(tmp_path, clock, rules=(rule,), policy=POLICY) as (here, executor):
        asked = [request(), request(parameters={"x": 0.85}), request(parameters={"x": 0.95}), request(purpose="export")]
        answers = await said(here, *asked)
        assert [(r.kind, [reason.id for reason in r.body.reasons]) for r in answers] == [
            ("run.accepted", ["open-research", "site.agreement-allows"]),
            ("run.parked", ["us.warm-runs"]),
            ("run.refused", ["us.no-hot-runs"]),
            ("run.refused", ["no-export"]),
        ]
        assert [r.body.code for r in answers[2:]] == ["denied", "denied"]
        assert answers[1].body.reasons[0].text == "The shift leader has to know."
        assert balance(here) == (99, 1, 0)
    assert executor.taken == [asked[0].run]


async def test_what_the_allocation_does_not_cover_is_refused_with_both_amounts(
    tmp_path: Path, clock: HandClock
) -> None:
    offer = offered(unit="node-hour", per_run=0.0, per_hour=2.0, time_limit_s=1800.0)
    options = {"offers": [offer], "allocations": [("fusion", "2.5 node-hour")]}
    async with opened(tmp_path, clock, **options) as (here, executor):
        asked = [request() for _ in range(4)]
        answers = await said(here, *asked)
        assert [r.kind for r in answers] == ["run.accepted"] * 2 + ["run.refused"] * 2
        assert answers[2].body.code == "allocation"
        (reason,) = answers[2].body.reasons
        assert "reserves 1 node-hour" in reason.text
        assert "has 0.5 node-hour left" in reason.text
        assert balance(here, unit="node-hour") == (0.5, 2, 0)
        await executor.succeed(asked[0].run, seconds=900)
        assert balance(here, unit="node-hour") == (1, 1, 0.5)
        assert [r.kind for r in await said(here, request())] == ["run.accepted"]


async def test_a_team_without_an_allocation_is_refused(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, allocations=[("quantum", "5 run")]) as (here, _):
        (answer,) = await said(here, request())
        assert answer.body.code == "allocation"
        assert "team 'fusion' has 0 run left here" in answer.body.reasons[0].text


async def test_each_team_pays_from_its_own_allocation(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, allocations=[("fusion", "1 run"), ("quantum", "1 run")]) as (here, _):
        answers = await said(here, request(team="quantum"), request(), request(), signer="jp-lab")
        assert [r.kind for r in answers] == ["run.accepted", "run.accepted", "run.refused"]


async def test_a_site_describes_itself_to_a_team(tmp_path: Path, clock: HandClock) -> None:
    async with opened(tmp_path, clock, capacity=3) as (here, _):
        await said(here, request())
        described = await here.describe("fusion")
    assert (described.site, described.institution) == ("us-site", "us-lab")
    assert described.key == key_of("us-lab").public.text
    assert described.available == {"run": 99.0}
    (offer,) = described.offers
    assert (offer.charge_unit, offer.per_run, offer.slots, offer.spec["name"]) == ("run", 1.0, 3, "lab.measure")


async def test_everything_that_a_site_did_can_be_verified_offline(tmp_path: Path, clock: HandClock) -> None:
    from renkei.accounts import Books
    from renkei.ledger.merkle import leaf_hash, verify_inclusion

    executor = FakeExecutor(answer=succeed)
    async with site(tmp_path, clock, executor).opened() as here:
        with pytest.raises(AgreementError):
            await here.submit(garbage(b""))
        await said(here, *(request() for _ in range(5)), request(purpose="weapons"))
        await settled()
        head = read_checkpoint(await here.checkpoint(), key_of("us-lab").public)
        for record in records(here):
            proof = await here.inclusion(record.seq, head.size)
            assert verify_inclusion(leaf_hash(record.raw), record.seq, head.size, proof, head.root)
    finding = verify(tmp_path / "us-site" / "ledger.db", key_of("us-lab").public, [Runs(), Books()])
    assert finding.is_sound, finding.problem
