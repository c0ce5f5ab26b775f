"""The renkei protocol: a site elsewhere is asked as one in process is, and takes nothing from whom it should not."""

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest
from anyio.abc import ByteStream, SocketAttribute
from served_site import served

from fakes import (
    FakeExecutor,
    RunningClock,
    batch,
    cancellation,
    key_of,
    kinds,
    records,
    request,
    settled,
    site,
    succeed,
    until,
)
from hand_clock import HandClock
from renkei.api import _protocol
from renkei.api._protocol import Protocol
from renkei.errors import AgreementError, Denied, RemoteError, Replayed, Unreachable
from renkei.executors import JobEnd
from renkei.federation import Reports
from renkei.federation.http import PASS_S, HttpSite
from renkei.ids import IdMint
from renkei.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from renkei.model.records import read_record
from renkei.site._gate import FRESH_S
from renkei.trust.note import parse_checkpoint
from renkei.trust.revocation import read_notices, revoke

pytestmark = pytest.mark.anyio


async def test_a_run_goes_from_request_to_report_as_in_process(tmp_path: Path, clock: HandClock) -> None:
    executor, asked = FakeExecutor(), request()
    async with site(tmp_path, clock, executor).opened() as here, served(here, clock, tmp_path) as there:
        handle = there.handle()
        described = await handle.describe("fusion")
        assert (described.site, described.available) == ("us-site", {"run": 100.0})
        async with handle.follow("fusion", "search") as stream:
            accepted = [read_record(raw) for raw in await handle.submit(batch(here, asked))]
            assert [(r.kind, r.body.run) for r in accepted] == [("run.accepted", asked.run)]
            assert await handle.find([asked.run, "0198c7a0-1b2c-7000-8f3e-5d2a9c4b1e77"]) == [accepted[0].raw, None]
            await executor.succeed(asked.run)
            report = await _end(stream)
        ended = read_record(report)
        assert (ended.kind, ended.body.outcome) == ("run.ended", "succeeded")
        assert report == here.ledger.read(ended.seq), "byte for byte as it lies in the ledger"
        head = parse_checkpoint(await handle.checkpoint())
        proof = await handle.inclusion(ended.seq, head.size)
        assert verify_inclusion(leaf_hash(report), ended.seq, head.size, proof, head.root)
        assert await handle.leaves(head.size) == b"".join(here.ledger.leaf_hashes(head.size))


async def test_a_cancellation_ends_a_run_and_is_reported(tmp_path: Path, clock: HandClock) -> None:
    executor, asked = FakeExecutor(), request()
    async with site(tmp_path, clock, executor).opened() as here, served(here, clock, tmp_path) as there:
        handle = there.handle()
        await handle.submit(batch(here, asked))
        await handle.cancel(cancellation(here, asked.run))
        await until(lambda: here.runs.rows[asked.run].state == "cancelled")


async def test_a_stream_goes_on_where_it_ended(tmp_path: Path, clock: HandClock) -> None:
    executor = FakeExecutor(answer=succeed)
    async with site(tmp_path, clock, executor).opened() as here, served(here, clock, tmp_path) as there:
        first, second = request(), request()
        await here.submit(batch(here, first))
        await until(lambda: not here.runs.live)
        await here.submit(batch(here, second))
        await until(lambda: not here.runs.live)
        url, query = f"{there.url}/renkei/v1/events", {"team": "fusion", "campaign": "search", "cursor": "0"}

        async def heard(last: str | None) -> list[tuple[int, str]]:
            headers = there.authorization() | ({} if last is None else {"Last-Event-ID": last})
            found: list[tuple[int, str]] = []
            async with there.client.stream("GET", url, params=query, headers=headers) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        record = read_record(line.removeprefix("data: ").encode())
                        found.append((record.seq, record.kind))
                        if record.body.run == second.run and record.kind == "run.ended":
                            return found
            return found

        whole = await heard(None)
        assert [kind for _, kind in whole] == ["run.accepted", "run.ended"] * 2
        assert await heard(str(whole[1][0])) == whole[2:]


async def test_a_dropped_connection_costs_no_report(tmp_path: Path, clock: HandClock) -> None:
    executor, asked = FakeExecutor(), [request(), request()]
    async with site(tmp_path, clock, executor).opened() as here, served(here, clock, tmp_path) as there:
        async with _Relay(there.url).opened() as relay:
            handle = there.handle(url=relay.url)
            async with handle.follow("fusion", "search") as stream:
                await handle.submit(batch(here, *asked))
                await executor.succeed(asked[0].run)
                first = await _end(stream)
                relay.drop()
                await executor.succeed(asked[1].run)
                await settled()
                second = await _end(stream)
        assert read_record(first).body.run == asked[0].run
        assert read_record(second).body.run == asked[1].run


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"audience": "jp-site"}, "is for 'jp-site'"),
        ({"issued_at": 1.0}, "too long ago"),
        ({"institution": "jp-lab"}, "signed it"),
    ],
)
async def test_what_is_stale_or_for_others_is_refused_and_recorded(
    tmp_path: Path, clock: HandClock, spoil: dict[str, object], why: str
) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        with pytest.raises(AgreementError, match=why):
            await there.handle().submit(batch(here, request(), **spoil))
        assert why in records(here, "request.refused")[-1].body.reason


async def test_a_replayed_batch_is_refused_and_the_requests_in_a_new_one_are_not(
    tmp_path: Path, clock: HandClock
) -> None:
    asked = request()
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        once = batch(here, asked)
        first = await there.handle().submit(once)
        with pytest.raises(Replayed, match="came before"):
            await there.handle().submit(once)
        assert "came before" in records(here, "request.refused")[-1].body.reason
        assert await there.handle().submit(batch(here, asked)) == first
        assert kinds(here).count("run.accepted") == 1
    async with site(tmp_path, clock, FakeExecutor()).opened() as here:
        with pytest.raises(Replayed, match="came before"):
            await here.submit(once)


async def test_a_forged_batch_is_refused_and_recorded(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        sealed = batch(here, request())
        forged = msgspec.structs.replace(sealed, payload=sealed.payload.replace(b'"x":0.5', b'"x":0.6'))
        with pytest.raises(Denied, match="does not verify"):
            await there.handle().submit(forged)
        assert "does not verify" in records(here, "request.refused")[-1].body.reason
        assert "run.accepted" not in kinds(here)


async def test_a_team_sees_its_own_runs_only(tmp_path: Path, clock: HandClock) -> None:
    mine = request()
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        await here.submit(batch(here, mine))
        stranger = there.handle("outsider")
        assert await stranger.find([mine.run]) == [None]
        with pytest.raises(AgreementError, match="team 'fusion'"):
            await stranger.describe("fusion")
        answer = await there.client.get(
            f"{there.url}/renkei/v1/runs/{mine.run}", headers=there.authorization("outsider")
        )
        assert answer.status_code == 404
        query = {"team": "fusion", "campaign": "search", "cursor": "0"}
        answer = await there.client.get(
            f"{there.url}/renkei/v1/events", params=query, headers=there.authorization("outsider")
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "denied")


@pytest.mark.parametrize("path", ["/runs/x", "/events", "/ledger/checkpoint", "/ledger/leaves?size=1", "/runs/x/files"])
async def test_what_is_not_public_needs_a_pass(tmp_path: Path, clock: HandClock, path: str) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        url = f"{there.url}/renkei/v1{path}"
        for headers in ({}, {"Authorization": "Renkei !!!"}, {"Authorization": "Bearer abc"}):
            answer = await there.client.get(url, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Renkei")
        answer = await there.client.get(url, headers=there.authorization(audience="jp-site"))
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 200_000, 413),
        (b"[" * 50_000, 400),
        (b"\xff\xfe", 400),
        (b'{"kind":1}', 400),
        (b"", 400),
    ],
)
async def test_a_hostile_body_is_refused_with_a_reason(
    tmp_path: Path, clock: HandClock, body: bytes, status: int
) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        for path in ("/runs", "/cancellations"):
            answer = await there.client.post(f"{there.url}/renkei/v1{path}", content=body)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"]

        async def endless() -> AsyncGenerator[bytes]:
            while True:
                yield b"[" * 10_000

        try:
            answer = await there.client.post(f"{there.url}/renkei/v1/runs", content=endless())
        except httpx.TransportError:
            pass  # the connection was closed before the answer was read
        else:
            assert answer.status_code == 413
        assert (await there.handle().describe("fusion")).site == "us-site", "the site stays up"


async def test_a_revoked_institution_reads_no_more_and_its_streams_end(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_protocol, "HEARTBEAT_S", 0.05)
    query = {"team": "fusion", "campaign": "search", "cursor": "0"}
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        url, headers = f"{there.url}/renkei/v1", there.authorization("jp-lab")
        assert (await there.client.get(f"{url}/ledger/checkpoint", headers=headers)).status_code == 200
        async with there.client.stream("GET", f"{url}/events", params=query, headers=headers) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines)
            revoke(key_of("us"), here.agreement, tmp_path / "a.toml", clock.now(), "stolen", institution="jp-lab")
            (given,), _ = read_notices(here.agreement, tmp_path / "a.toml")
            await here.take_notice(given)
            with anyio.fail_after(5):
                async for _ in lines:
                    pass
        refused = await there.client.get(f"{url}/ledger/checkpoint", headers=headers)
        assert (refused.status_code, "stolen" in refused.json()["detail"]) == (403, True)
        async with there.handle("jp-lab").follow("fusion", "search") as stream:
            with pytest.raises(Denied, match="stolen"), anyio.fail_after(5):
                await anext(stream)


async def test_a_site_with_another_key_is_not_the_one_of_the_agreement(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        wrong = HttpSite("us-site", there.url, key_of("us-lab"), key_of("jp-lab").public.text, clock, there.client)
        with pytest.raises(Denied, match="another key"):
            await wrong.describe("fusion")


async def test_no_answer_means_unknown_and_a_silent_site_is_left_alone(clock: HandClock) -> None:
    tries: list[str] = []

    def refuse(asked: httpx.Request) -> httpx.Response:
        tries.append(asked.url.path)
        raise httpx.ConnectError("refused")

    key = key_of("us-lab")
    client = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
    away = HttpSite("us-site", "http://away", key, key.public.text, clock, client)
    with pytest.raises(Unreachable, match="gives no answer"):
        await away._once("POST", "/runs", content=b"")
    assert len(tries) == 1, "what may have been done is not tried again"
    for _ in range(9):
        with pytest.raises(Unreachable):
            await away._once("GET", "/site")
    assert len(tries) == 5, "after that it is left alone"
    clock.time += 1000
    with pytest.raises(Unreachable, match="gives no answer"):
        await away._once("GET", "/site")
    await client.aclose()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", Unreachable),
        (503, b"{}", Unreachable),
        (429, json.dumps({"detail": "later"}).encode(), Unreachable),
        (403, json.dumps({"code": "denied", "detail": "no"}).encode(), Denied),
        (400, json.dumps({"detail": "bad"}).encode(), RemoteError),
        (302, b"<html>", RemoteError),
        (200, b"<html>", Unreachable),
    ],
)
async def test_each_answer_is_told_apart(clock: HandClock, status: int, body: bytes, error: type[Exception]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    key = key_of("us-lab")
    async with httpx.AsyncClient(transport=transport) as client:
        odd = HttpSite("us-site", "http://odd", key, key.public.text, clock, client)
        with pytest.raises(error):
            await odd.find([IdMint(clock).new()])


async def test_the_protocol_describes_itself(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        described = (await there.client.get(f"{there.url}/renkei/v1/openapi.json")).json()
        page = await there.client.get(f"{there.url}/renkei/v1/docs")
        routes = Protocol(there.context).routes()
        answered = {(method, route.path) for route in routes for method in (route.methods or ()) if method != "HEAD"}
        spelt = {(verb.upper(), path) for path, verbs in described["paths"].items() for verb in verbs}
        assert answered - spelt == {("GET", "/openapi.json"), ("GET", "/docs")}
        assert spelt <= answered
        assert "https://" not in page.text
        assert "<script" not in page.text


async def _end(stream: AsyncIterator[Reports]) -> bytes:
    """Return the next report of a run's end; the stream stays open."""
    with anyio.fail_after(10):
        while True:
            for raw in await anext(stream):
                if read_record(raw).kind == "run.ended":
                    return raw


class _Relay:
    """Passes bytes on to a server, and drops every connection when it is told to."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._scopes: list[anyio.CancelScope] = []
        self.url = ""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["_Relay"]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._pass)
            yield self
            tasks.cancel_scope.cancel()

    def drop(self) -> None:
        for scope in self._scopes:
            scope.cancel()

    async def _pass(self, near: ByteStream) -> None:
        async with near, await anyio.connect_tcp("127.0.0.1", self._port) as far:
            with anyio.CancelScope() as scope:
                self._scopes.append(scope)

                async def pump(source: ByteStream, sink: ByteStream) -> None:
                    try:
                        async for chunk in source:
                            await sink.send(chunk)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                        pass
                    scope.cancel()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pump, near, far)
                    tasks.start_soon(pump, far, near)


async def test_the_files_of_a_run_are_listed_and_sent_to_its_team(tmp_path: Path, clock: HandClock) -> None:
    made = tmp_path / "field.h5"
    made.write_bytes(b"\x00field" * 1000)
    executor, asked = FakeExecutor(), request()
    async with site(tmp_path, clock, executor).opened() as here, served(here, clock, tmp_path) as there:
        url, mine = f"{there.url}/renkei/v1/runs/{asked.run}", there.authorization()
        await here.submit(batch(here, asked))
        assert (await there.client.get(f"{url}/files", headers=mine)).json() == []
        executor._end(JobEnd(asked.run, "succeeded", 1.0, {"value": 1.0}, {"field": str(made)}))
        await until(lambda: not here.runs.live)
        await here.ledger.sync()
        (listed,) = (await there.client.get(f"{url}/files", headers=mine)).json()
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        assert listed == {"name": "field", "digest": digest, "size_bytes": 6000}
        sent = await there.client.get(f"{url}/files/field", headers=mine)
        assert (sent.content, sent.headers["etag"]) == (made.read_bytes(), f'"{digest}"')
        assert (await there.client.get(f"{url}/files/other", headers=mine)).status_code == 404
        assert (await there.client.get(f"{url}/files", headers=there.authorization("outsider"))).status_code == 404
        last = await there.client.get(url, headers=mine)
        assert read_record(last.content).kind == "run.ended"


async def test_a_checkpoint_is_proved_to_go_on_from_an_earlier_one(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        handle, mine = there.handle(), there.authorization()
        old = parse_checkpoint(await handle.checkpoint())
        await handle.submit(batch(here, request(), request()))
        new = parse_checkpoint(await handle.checkpoint())
        assert new.size > old.size
        url = f"{there.url}/renkei/v1/ledger"
        query = {"old": str(old.size), "new": str(new.size)}
        answer = await there.client.get(f"{url}/consistency", params=query, headers=mine)
        proof = [base64.b64decode(node) for node in answer.json()]
        assert verify_consistency(old.size, old.root, new.size, new.root, proof)
        for path in (
            f"/consistency?old={new.size}&new={old.size}",
            f"/consistency?old=0&new={new.size + 1}",
            f"/inclusion?seq={new.size}&size={new.size}",
            "/inclusion?seq=-1&size=1",
            "/leaves?size=1e3",
            "/leaves",
        ):
            wrong = await there.client.get(url + path, headers=mine)
            assert (wrong.status_code, wrong.json()["code"]) == (400, "usage"), path


async def test_a_pass_that_was_good_once_is_not_good_for_ever(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        url, shown = f"{there.url}/renkei/v1/ledger/checkpoint", there.authorization()
        for later_s, status in ((0.0, 200), (FRESH_S - 1, 200), (2.0, 403)):
            clock.time += later_s
            assert (await there.client.get(url, headers=shown)).status_code == status


async def test_a_site_that_answers_now_and_then_is_not_left_alone(clock: HandClock) -> None:
    n_asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal n_asked
        n_asked += 1
        return httpx.Response(200 if n_asked % 4 == 0 else 503, content=b"[null]")

    key = key_of("us-lab")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        shaky = HttpSite("us-site", "http://shaky", key, key.public.text, RunningClock(), client)
        for _ in range(20):
            with suppress(Unreachable):
                await shaky._once("GET", "/site")
    assert n_asked == 20, "left alone, it would have been asked less often"


async def test_batches_that_are_stale_anyhow_are_forgotten(tmp_path: Path, clock: HandClock) -> None:
    async with site(tmp_path, clock, FakeExecutor()).opened() as here:
        for _ in range(5):
            await here.submit(batch(here, request()))
            clock.time += FRESH_S
        assert len(here._gate._batches) == 3, "those of twice the time that a batch is fresh for"


async def test_a_question_about_too_many_runs_is_refused(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_protocol, "FIND_MAX", 2)
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        assert await there.handle().find(["x", "y"]) == [None, None]
        with pytest.raises(RemoteError, match="3 runs are too many"):
            await there.handle().find(["x", "y", "z"])


async def test_without_a_cursor_a_stream_begins_now(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_protocol, "HEARTBEAT_S", 0.05)
    executor, old, new = FakeExecutor(answer=succeed), request(), request()
    async with site(tmp_path, clock, executor).opened() as here, served(here, clock, tmp_path) as there:
        await here.submit(batch(here, old))
        await until(lambda: not here.runs.live)
        url, query = f"{there.url}/renkei/v1/events", {"team": "fusion", "campaign": "search"}
        async with there.client.stream("GET", url, params=query, headers=there.authorization()) as answer:
            lines = answer.aiter_lines()
            while await anext(lines) != ": alive":
                pass
            await here.submit(batch(here, new))
            with anyio.fail_after(5):
                async for line in lines:
                    if line.startswith("data: "):
                        break
        assert read_record(line.removeprefix("data: ").encode()).body.run == new.run


async def test_a_pass_is_shown_again_until_it_grows_old(clock: HandClock) -> None:
    shown: list[str] = []

    def answer(asked: httpx.Request) -> httpx.Response:
        shown.append(asked.headers["authorization"])
        return httpx.Response(200, content=b"[null]")

    key = key_of("us-lab")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        handle = HttpSite("us-site", "http://there", key, key.public.text, clock, client)
        for later_s in (0.0, PASS_S / 2, PASS_S):
            clock.time += later_s
            await handle.find([IdMint(clock).new()])
    assert shown[0] == shown[1] != shown[2]


async def test_a_question_is_put_again_and_many_runs_are_asked_in_parts(clock: HandClock) -> None:
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        runs = json.loads(request.content)["runs"]
        asked.append(len(runs))
        return httpx.Response(503 if len(asked) == 1 else 200, content=json.dumps([None] * len(runs)))

    key = key_of("us-lab")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        handle = HttpSite("us-site", "http://there", key, key.public.text, RunningClock(), client)
        assert await handle.find(["x"] * 12_000) == [None] * 12_000
        assert asked == [5000, 5000, 5000, 2000]
        wrong = httpx.MockTransport(lambda _: httpx.Response(200, content=b"[null]"))
        handle._client = httpx.AsyncClient(transport=wrong)
        with pytest.raises(Unreachable, match="answered about 1 of 2"):
            await handle.find(["x", "y"])
        await handle._client.aclose()
