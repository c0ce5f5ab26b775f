"""What holds for every operation of the IRI API: addresses, methods, tokens, parameters, problems, validators."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from serving import client, job, served
from starlette.applications import Starlette

from hand_clock import HandClock
from renkei.api.iri import IriRoute
from renkei.api.iri._http import Call
from renkei.api.iri._place import Place

pytestmark = pytest.mark.anyio

JOBS = "/api/v2/compute/job/cluster"


async def test_a_path_that_is_not_there_is_a_problem_document(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        for path in ("/", "/api", "/api/v2", "/api/v2/", "/api/v2/facility/", "/api/v2//facility", "/api/v3/facility"):
            answer = await http.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
            said = answer.json()
            assert (said["status"], said["title"], said["type"]) == (404, "Not Found", "about:blank")
            assert said["instance"] == f"http://site.test{path}"


async def test_every_path_below_api_is_ours_in_a_larger_application(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _):
        larger = Starlette(routes=[IriRoute(app)])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=larger), base_url="http://site.test") as http:
            assert (await http.get("/api/v2/facility")).status_code == 200
            for path in ("/api", "/api/", "/api/v2/status/events/a%0Ab", "/api/v2/status/events/%2F", "/api/%FF"):
                answer = await http.get(path)
                assert answer.status_code == 404
                assert answer.headers["content-type"] == "application/problem+json"
            assert (await http.get("/apiary")).headers["content-type"] == "text/plain; charset=utf-8"


async def test_every_path_names_all_of_its_methods(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        by_path: dict[str, set[str]] = {}
        for operation in app.operations:
            by_path.setdefault(operation.path, set()).add(operation.method)
        for path, methods in by_path.items():
            for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - methods:
                answer = await http.request(method, path.replace("{", "").replace("}", ""))
                assert answer.status_code == 405, (method, path)
                assert {name.strip() for name in answer.headers["allow"].split(",")} == methods


async def test_every_operation_that_is_not_open_wants_a_token(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app, None) as http:
        closed = [operation for operation in app.operations if not operation.is_open]
        assert len(closed) > 40
        for operation in closed:
            for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
                path = operation.path.replace("{", "").replace("}", "")
                answer = await http.request(operation.method, path, headers=wrong)
                assert answer.status_code == 401, operation
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "wrong" not in answer.text


async def test_problems_are_plain_json_for_those_who_take_nothing_else(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        for accept, media in {
            "application/json": "application/json",
            "*/*": "application/problem+json",
            "application/problem+json, application/json;q=0.5": "application/problem+json",
            "text/html": "application/problem+json",
        }.items():
            answer = await http.get("/api/v2/nothing", headers={"Accept": accept})
            assert answer.headers["content-type"] == media


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("colour=red", ["colour"]),
        ("colour=red&size=2", ["colour", "size"]),
        ("name=a&name=b", ["name"]),
        ("name=", ["name"]),
        ("offset=-1", ["offset"]),
        ("offset=1.5", ["offset"]),
        ("limit=1001", ["limit"]),
        ("limit=99999999999999999999999", ["limit"]),
        ("modified_since=yesterday", ["modified_since"]),
        ("modified_since=2026-01-01", ["modified_since"]),
        ("modified_since=0", ["modified_since"]),
        ("modified_since=null", ["modified_since"]),
        ("current_status=UP", ["current_status"]),
        ("resource_type=compute", ["resource_type"]),
        ("capability=node-hour", ["capability[0]"]),
        ("name=%FF", ["query"]),
    ],
)
async def test_a_query_that_is_wrong_is_refused(tmp_path: Path, clock: HandClock, query: str, names: list[str]) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        answer = await http.get(f"/api/v2/status/resources?{query}")
        assert answer.status_code == 422
        assert [param["name"] for param in answer.json()["invalid_params"]] == names


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
        (b"[]", "body"),
        (b'{"colour": "red"}', "colour"),
        (b'{"executable": 7}', "executable"),
        (b'{"executable": ""}', "executable"),
        (b'{"executable": "\\ud800"}', "body"),
        (b'{"resources": {"node_count": 0}}', "resources.node_count"),
        (b'{"resources": {"node_count": 1.5}}', "resources.node_count"),
        (b'{"attributes": {"duration": true}}', "attributes.duration"),
        (b'{"environment": {"A": 1}}', "environment[...]"),
    ],
)
async def test_a_body_that_is_wrong_is_refused(tmp_path: Path, clock: HandClock, body: bytes, name: str) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        answer = await http.post(JOBS, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert [param["name"] for param in answer.json()["invalid_params"]] == [name]


async def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        body = json.dumps(job(resources={"node_count": 2.0}))
        answer = await http.post(JOBS, content=body, headers={"Content-Type": "application/json"})
        assert answer.json()["job_spec"]["resources"]["node_count"] == 2


async def test_a_body_that_is_not_json_or_too_large_is_refused(tmp_path: Path, clock: HandClock) -> None:
    more = '[serve]\nbody = "10 kB"\n'
    async with served(tmp_path, clock, more=more) as (app, _), client(app) as http:
        answer = await http.post(JOBS, content=b"executable=a", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 400
        large = json.dumps(job(arguments=["x" * 10_000])).encode()
        assert (await http.post(JOBS, content=large)).status_code == 413

        async def parts() -> AsyncGenerator[bytes]:
            for start in range(0, len(large), 1000):
                yield large[start : start + 1000]

        assert (await http.post(JOBS, content=parts())).status_code == 413


async def test_what_did_not_change_is_not_sent_again(tmp_path: Path, clock: HandClock) -> None:
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        first = await http.get("/api/v2/facility")
        tag, modified = first.headers["etag"], first.headers["last-modified"]
        for known, status in (
            ({"If-None-Match": tag}, 304),
            ({"If-None-Match": f'"other", W/{tag}'}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"other"', "If-Modified-Since": modified}, 200),
            ({"If-Modified-Since": modified}, 304),
            ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
            ({"If-Modified-Since": "yesterday"}, 200),
        ):
            answer = await http.get("/api/v2/facility", headers=known)
            assert answer.status_code == status, known
            assert answer.headers["etag"] == tag
            assert (answer.content == b"") == (status == 304)
        assert (await http.get("/api/v2/facility?modified_since=2026-01-01T00:00:00Z")).status_code == 200
        assert (await http.get("/api/v2/facility?modified_since=2100-01-01T00:00:00Z")).status_code == 304


async def test_links_begin_with_the_host_that_was_asked_and_nobody_else_has_a_say(
    tmp_path: Path, clock: HandClock
) -> None:
    forwarded = {"X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test", "X-Forwarded-Proto": "https"}
    async with served(tmp_path / "a", clock) as (app, _), client(app, **forwarded) as http:
        found = (await http.get("/api/v2/facility")).json()
        assert found["self_uri"] == found["_links"]["self"]["href"] == "http://site.test/api/v2/facility"
        hostile = await http.get("/api/v2/facility", headers={"Host": "evil.test/<script>"})
        assert "evil" not in hostile.text
    more = '[serve]\nurl = "https://iri.example.org/"\n'
    async with served(tmp_path / "b", clock, more=more) as (app, _), client(app) as http:
        found = (await http.get("/api/v2/facility")).json()
        assert found["self_uri"] == "https://iri.example.org/api/v2/facility"


async def test_a_fault_of_the_site_is_a_problem_that_tells_nothing(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(place: Place, call: Call) -> None:
        raise ZeroDivisionError(place, call)

    monkeypatch.setattr(Place, "facility", fail)
    async with served(tmp_path, clock) as (app, _), client(app) as http:
        answer = await http.get("/api/v2/facility")
        assert answer.status_code == 500
        assert "ZeroDivision" not in answer.text
