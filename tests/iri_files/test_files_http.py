"""The parts "filesystem" and "task" over HTTP, as the interface document has them."""

import base64
import json
import os
import pwd
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from iri.serving import client, served
from renkei.api.iri import _store, _tasks
from renkei.api.iri._filework import SMALL_BYTES
from renkei.clock import SystemClock

pytestmark = pytest.mark.anyio

FROZEN = """
[[resources]]
id = "frozen"
name = "Frozen files"
type = "storage"
root = "files"
readonly = true
[[resources]]
id = "tape"
name = "Tape, without a root"
type = "storage"
"""
POSTS: dict[str, tuple[int, dict[str, Any]]] = {
    "chmod": (200, {"path": "/f", "mode": "640"}),
    "chown": (200, {"path": "/f", "owner": pwd.getpwuid(os.getuid()).pw_name}),
    "file": (200, {"path": "/f"}),
    "stat": (200, {"path": "/f", "dereference": True}),
    "mkdir": (201, {"path": "/d/e", "parent": "true"}),
    "symlink": (201, {"path": "/f", "link_path": "/l"}),
    "ls": (200, {"path": "/", "showHidden": True, "numericUid": True, "recursive": True, "dereference": False}),
    "head": (200, {"path": "/f", "lines": 1, "skipTrailing": False}),
    "view": (200, {"path": "/f", "size": 3, "offset": 1}),
    "tail": (200, {"path": "/f", "bytes": 2, "skipHeading": True}),
    "checksum": (200, {"path": "/f"}),
    "compress": (201, {"source_path": "/f", "target_path": "/f.tgz", "dereference": "true"}),
    "extract": (201, {"source_path": "/f.tgz", "target_path": "/out"}),
    "cp": (201, {"source_path": "/f", "target_path": "/g"}),
    "mv": (201, {"source_path": "/g", "target_path": "/h"}),
    "download": (200, {"path": "/f"}),
    "rm": (200, {"path": "/h"}),
}
CHANGES = ("chmod", "chown", "mkdir", "symlink", "compress", "extract", "cp", "mv", "rm")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tasks, "POLL_S", 0.01)


@asynccontextmanager
async def api(folder: Path, token: str | None = "alice-secret") -> AsyncGenerator[tuple[httpx.AsyncClient, Path]]:
    """A client of a served site, and the folder that users see."""
    async with served(folder, SystemClock(), more=FROZEN) as (app, _), client(app, token) as http:
        yield http, folder / "files"


async def ended(http: httpx.AsyncClient, response: httpx.Response) -> dict[str, Any]:
    """Return the task that a request made, when it is over."""
    assert response.status_code in (200, 201), response.text
    made = response.json()
    assert set(made) == {"task_id", "task_uri"}
    with anyio.fail_after(10):
        while True:
            task = (await http.get(made["task_uri"])).json()
            assert set(task) == {"id", "status", "result", "command"}
            assert task["id"] == made["task_id"]
            if task["status"] not in ("pending", "active"):
                return task
            await anyio.sleep(0.005)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert found["status"] == status
    return found


async def test_every_operation_answers_with_a_task_that_ends_well(tmp_path: Path) -> None:
    async with api(tmp_path) as (http, files):
        (files / "f").write_text("hello\n")
        results: dict[str, Any] = {}
        for name, (status, body) in POSTS.items():
            response = await http.post(f"/api/v2/filesystem/{name}/files", json=body)
            assert response.status_code == status
            task = await ended(http, response)
            assert task["status"] == "completed", task
            assert task["command"]["router"] == "filesystem"
            assert task["command"]["command"] == name
            assert task["command"]["args"].items() >= {"resource_id": "files"}.items()
            results[name] = task["result"]["output"]
    assert results["file"] == "ASCII text"
    assert results["stat"]["size"] == 6
    assert results["head"]["content"] == "hello\n"
    assert results["view"] == {"content": "ell", "content_type": "bytes", "start_position": 1, "end_position": 4}
    assert results["tail"]["content"] == "llo\n"
    assert base64.b64decode(results["download"]) == b"hello\n"
    assert results["mkdir"]["type"] == "directory"
    assert {entry["name"] for entry in results["ls"]} == {"d", "d/e", "f", "l"}
    assert (files / "out" / "f").read_text() == "hello\n"
    assert not (files / "h").exists()


async def test_upload_takes_a_form(tmp_path: Path) -> None:
    async with api(tmp_path) as (http, files):
        content = bytes(range(256)) + b"\r\n--\r\n\r\n"
        address = "/api/v2/filesystem/upload/files"
        task = await ended(http, await http.post(address, params={"path": "/raw"}, files={"file": ("x.bin", content)}))
        assert (task["status"], task["command"]["args"]) == ("completed", {"resource_id": "files", "path": "/raw"})
        assert (files / "raw").read_bytes() == content
        large = await http.post(address, params={"path": "/l"}, files={"file": ("x.bin", bytes(SMALL_BYTES))})
        assert (await ended(http, large))["status"] == "completed"
        problem(await http.post(address, params={"path": "/l"}, files={"file": ("x", bytes(SMALL_BYTES + 1))}), 413)
        problem(await http.post(address, files={"file": ("x", b"")}), 422)
        problem(await http.post(address, params={"path": "/x"}, json={"file": "x"}), 400)
        problem(await http.post(address, params={"path": "/x"}, files={"other": ("x", b"")}), 400)
        problem(await http.post("/api/v2/filesystem/upload/frozen", params={"path": "/x"}, files={"file": b""}), 403)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"--b",
        b"--b--",
        b"--b\r\n\r\nx",
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx',
        b'--bx\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--',
        b'--b\r\nContent-Disposition: attachment; name="file"\r\n\r\nx\r\n--b--',
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n' * 2 + b"--b--",
        b"--b\r\n\r\n\r\n" * 30,
    ],
)
async def test_a_form_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    async with api(tmp_path) as (http, files):
        headers = {"Content-Type": 'multipart/form-data; boundary="b"'}
        problem(await http.post("/api/v2/filesystem/upload/files?path=/x", content=raw, headers=headers), 400)
        assert list(files.iterdir()) == []


async def test_what_cannot_be_done_ends_as_a_failed_task(tmp_path: Path) -> None:
    async with api(tmp_path) as (http, _):
        for name, body, text in [
            ("stat", {"path": "/nope"}, "does not exist"),
            ("view", {"path": "/../x"}, "leads out of the resource"),
            ("mkdir", {}, "has no path"),
            ("rm", {"path": "/"}, "root itself"),
        ]:
            task = await ended(http, await http.post(f"/api/v2/filesystem/{name}/files", json=body))
            assert task["status"] == "failed"
            assert text in task["result"]["error"]["message"]
            assert str(tmp_path) not in json.dumps(task)


async def test_bad_requests_make_no_task(tmp_path: Path) -> None:
    async with api(tmp_path) as (http, _):
        bad: list[tuple[str, Any]] = [
            ("stat", {}),
            ("stat", {"path": 1}),
            ("stat", {"path": "/", "dereference": 1}),
            ("stat", []),
            ("chmod", {"path": "/f"}),
            ("tail", {"path": ""}),
            ("tail", {"path": "/f", "lines": 0}),
            ("view", {"path": "/f", "offset": -1}),
            ("view", {"path": "/f", "size": 0}),
            ("compress", {"path": "/f", "target_path": "/g", "compression": "gzip"}),
        ]
        for name, body in bad:
            found = problem(await http.post(f"/api/v2/filesystem/{name}/files", json=body), 400)
            assert found["invalid_params"]
        for name in (*POSTS, "upload"):
            for resource in ("nope", "cluster", "tape", "..%2Ffiles"):
                body = POSTS[name][1] if name != "upload" else None
                files = {"file": b""} if name == "upload" else None
                query = {"path": "/x"} if name == "upload" else None
                response = await http.post(
                    f"/api/v2/filesystem/{name}/{resource}", json=body, files=files, params=query
                )
                problem(response, 404)
            response = await http.get(f"/api/v2/filesystem/{name}/files")
            assert problem(response, 405)
            assert response.headers["allow"] == "POST"
        assert (await http.get("/api/v2/task")).json() == []


async def test_a_read_only_resource_refuses_changes_at_once(tmp_path: Path) -> None:
    async with api(tmp_path) as (http, files):
        (files / "f").write_text("hello\n")
        for name, (status, body) in POSTS.items():
            response = await http.post(f"/api/v2/filesystem/{name}/frozen", json=body)
            if name in CHANGES:
                assert "read-only" in problem(response, 403)["detail"]
            else:
                assert response.status_code == status
        assert [path.name for path in files.iterdir()] == ["f"]


async def test_nothing_is_done_without_a_token(tmp_path: Path) -> None:
    async with api(tmp_path, token=None) as (http, _):
        for name, (_, body) in POSTS.items():
            response = await http.post(f"/api/v2/filesystem/{name}/files", json=body)
            problem(response, 401)
            assert response.headers["www-authenticate"] == "Bearer"
        problem(await http.get("/api/v2/task"), 401)
        problem(await http.delete("/api/v2/task/x"), 401)
        assert (await http.post("/api/v2/filesystem/resources")).status_code == 200


async def test_resources_are_those_with_files(tmp_path: Path) -> None:
    async with api(tmp_path) as (http, _):
        found = (await http.post("/api/v2/filesystem/resources")).json()
        assert [resource["id"] for resource in found] == ["files", "frozen"]
        for resource in found:
            assert resource == (await http.get(resource["self_uri"])).json()
            assert resource["supported_endpoints"] == ["filesystem"]


async def test_tasks_are_seen_by_their_user_alone(tmp_path: Path) -> None:
    async with served(tmp_path, SystemClock()) as (app, _), client(app) as alice, client(app, "bob-secret") as bob:
        made = (await alice.post("/api/v2/filesystem/ls/files", json={"path": "/"})).json()
        await bob.post("/api/v2/filesystem/ls/files", json={"path": "/"})
        problem(await bob.get(made["task_uri"]), 404)
        problem(await bob.delete(made["task_uri"]), 404)
        assert [task["id"] for task in (await alice.get("/api/v2/task")).json()] == [made["task_id"]]
        assert made["task_id"] not in [task["id"] for task in (await bob.get("/api/v2/task")).json()]
        answer = await alice.delete(made["task_uri"])
        assert answer.status_code == 200
        assert isinstance(answer.json(), str)
        for response in (await alice.get(made["task_uri"]), await alice.delete(made["task_uri"])):
            problem(response, 404)
        assert (await alice.get("/api/v2/task")).json() == []
        problem(await alice.get("/api/v2/task?offset=1"), 422)


async def test_tasks_are_there_after_a_restart(tmp_path: Path) -> None:
    async with api(tmp_path) as (http, files):
        (files / "f").write_text("hello\n")
        task = await ended(http, await http.post("/api/v2/filesystem/checksum/files", json={"path": "/f"}))
    async with api(tmp_path) as (http, _):
        assert (await http.get(f"/api/v2/task/{task['id']}")).json() == task


async def test_a_user_with_too_many_tasks_has_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "LIVE_MAX", 0)
    async with api(tmp_path) as (http, _):
        problem(await http.post("/api/v2/filesystem/ls/files", json={"path": "/"}), 503)
