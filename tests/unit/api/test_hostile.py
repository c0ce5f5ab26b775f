"""Who wants to hurt a site by being slow, many or large is shown the door; the others are served meanwhile."""

from pathlib import Path

import anyio
import pytest
from served_site import served

from fakes import FakeExecutor, site
from hand_clock import HandClock
from renkei.api import _protocol, _server

pytestmark = pytest.mark.anyio


async def test_a_head_that_does_not_come_is_not_waited_for(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server, "HEAD_S", 0.2)
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        port = int(there.url.rpartition(":")[2])
        for begun in (b"", b"GET /renkei/v1/site HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            async with await anyio.connect_tcp("127.0.0.1", port) as slow:
                if begun:
                    await slow.send(begun)
                assert (await there.client.get(f"{there.url}/renkei/v1/site")).status_code == 200
                with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await slow.receive()


async def test_a_kept_connection_may_be_idle_for_longer_than_a_head_may_take(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server, "HEAD_S", 0.2)
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        port = int(there.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as kept:
            for _ in range(2):
                await kept.send(b"GET /renkei/v1/ledger HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b"200 OK" in await kept.receive()
                await anyio.sleep(0.5)


async def test_a_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_protocol, "BODY_S", 0.2)

    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        async with await anyio.connect_tcp("127.0.0.1", int(there.url.rpartition(":")[2])) as slow:
            await slow.send(b"POST /renkei/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
            with anyio.fail_after(5):
                assert (await slow.receive()).startswith(b"HTTP/1.1 408 ")


async def test_an_institution_has_so_many_streams_and_no_more(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_protocol, "STREAMS_MAX", 3)
    query = {"team": "fusion", "campaign": "search", "cursor": "0"}
    async with site(tmp_path, clock, FakeExecutor()).opened() as here, served(here, clock, tmp_path) as there:
        url, headers = f"{there.url}/renkei/v1/events", there.authorization()
        opened: list[int] = []

        async def hold() -> None:
            async with there.client.stream("GET", url, params=query, headers=headers) as answer:
                opened.append(answer.status_code)
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(hold)
            with anyio.fail_after(5):
                while len(opened) < 3:
                    await anyio.sleep(0.01)
            answer = await there.client.get(url, params=query, headers=headers)
            assert (opened, answer.status_code, answer.json()["code"]) == ([200] * 3, 503, "busy")
            other = there.authorization("jp-lab")
            async with there.client.stream("GET", url, params=query, headers=other) as theirs:
                assert theirs.status_code == 200
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            while here._feeds:
                await anyio.sleep(0.01)
        async with there.client.stream("GET", url, params=query, headers=headers) as again:
            assert again.status_code == 200, "who left makes room"
