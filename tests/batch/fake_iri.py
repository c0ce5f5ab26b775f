"""A facility in miniature: the part of the IRI Facility API v2 that executors need, over jobs that really run.

Requests and answers have the fields of the interface document's schemas (JobSpec, Job, JobStatus, Problem, Task).
"""

import base64
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "a-token"


class ResourceSpec(msgspec.Struct, forbid_unknown_fields=True):
    node_count: int | None = None
    process_count: int | None = None
    processes_per_node: int | None = None
    cpu_cores_per_process: int | None = None
    gpu_cores_per_process: int | None = None
    exclusive_node_use: bool = True
    memory: int | None = None


class JobAttributes(msgspec.Struct, forbid_unknown_fields=True):
    duration: int | None = None
    queue_name: str | None = None
    account: str | None = None
    reservation_id: str | None = None
    custom_attributes: dict[str, str] = {}


class JobSpec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    attributes: JobAttributes | None = None
    executable: str | None = None
    arguments: list[str] = []
    directory: str | None = None
    name: str | None = None
    inherit_environment: bool = True
    environment: dict[str, str] = {}
    stdin_path: str | None = None
    stdout_path: str | None = None
    stderr_path: str | None = None
    resources: ResourceSpec | None = None
    pre_launch: str | None = None
    post_launch: str | None = None
    launcher: str | None = None


class FakeJob:
    def __init__(self, number: str, spec: JobSpec) -> None:
        self.number, self.spec, self.time = number, spec, time.time()
        self.is_cancelled = self.is_over_time = False
        self.process = subprocess.Popen(
            [spec.executable or "", *spec.arguments],
            env=os.environ | spec.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def end(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def shown(self, *, is_with_spec: bool) -> dict[str, Any]:
        code = self.process.poll()
        limit = self.spec.attributes.duration if self.spec.attributes else None
        if code is None and limit and time.time() - self.time > limit + 1:
            self.end()
            code, self.is_over_time = -9, True
        state = "active" if code is None else "canceled" if self.is_cancelled else "failed" if code else "completed"
        status: dict[str, Any] = {"state": state, "time": time.time()}
        if code is not None and code >= 0:
            status["exit_code"] = code
        job: dict[str, Any] = {"id": self.number, "status": status}
        return job | {"job_spec": msgspec.to_builtins(self.spec)} if is_with_spec else job


class FakeFacility:
    """The application, and what a test does to it.

    Args:
        root: What the filesystem API shows, as "/".
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs: dict[str, FakeJob] = {}
        self.keys: dict[str, tuple[bytes, str]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: list[tuple[str, str]] = []
        self.app = Starlette(
            routes=[
                Route("/api/v2/compute/job/{resource}", self._launch, methods=["POST"]),
                Route("/api/v2/compute/status/{resource}", self._find, methods=["POST"]),
                Route("/api/v2/compute/cancel/{resource}/{job}", self._cancel, methods=["DELETE"]),
                Route("/api/v2/filesystem/{command}/{storage}", self._file, methods=["POST"]),
                Route("/api/v2/task/{task}", self._task),
            ]
        )

    def stop(self) -> None:
        for job in self.jobs.values():
            job.end()

    def fail(self, what: str, kind: str, times: int = 1) -> None:
        """Have the next calls of an operation fail: "down" before, "lost" after it was done, "garbage"."""
        self.faults += [(what, kind)] * times

    def _fault(self, what: str, request: Request) -> str:
        self.calls.append((what, request.url.path))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return "token"
        for fault in self.faults:
            if fault[0] == what:
                self.faults.remove(fault)
                return fault[1]
        return ""

    async def _launch(self, request: Request) -> Response:
        fault = self._fault("launch", request)
        if fault in ("down", "token"):
            return _problem(503 if fault == "down" else 401, "no")
        body, key = await request.body(), request.headers["idempotency-key"]
        try:
            spec = msgspec.json.decode(body, type=JobSpec)
        except msgspec.ValidationError as error:
            return _problem(400, str(error))
        if not spec.attributes or not spec.attributes.account:
            return _problem(400, "account is missing")
        if spec.attributes.queue_name == "none":
            return _problem(403, "you may not use the queue 'none'")
        if key in self.keys and self.keys[key][0] != body:
            return _problem(422, "Idempotency-Key was used for another body")
        if key not in self.keys:
            number = f"job-{len(self.jobs) + 1}"
            self.jobs[number] = FakeJob(number, spec)
            self.keys[key] = body, number
        if fault == "lost":
            return _problem(504, "upstream timed out")
        if fault == "garbage":
            return Response("<html>proxy</html>")
        return JSONResponse({"id": self.keys[key][1]})

    async def _find(self, request: Request) -> Response:
        fault = self._fault("find", request)
        if fault:
            return Response("[{") if fault == "garbage" else _problem(401 if fault == "token" else 503, "no")
        is_past = request.query_params["historical"] == "true" if "historical" in request.query_params else False
        is_with_spec = request.query_params.get("include_spec") == "true"
        shown = [job.shown(is_with_spec=is_with_spec) for job in self.jobs.values()]
        shown = [job for job in shown if is_past or job["status"]["state"] in ("queued", "active")]
        offset, limit = int(request.query_params.get("offset", 0)), int(request.query_params.get("limit", 100))
        return JSONResponse(shown[offset : offset + limit])

    async def _cancel(self, request: Request) -> Response:
        if self._fault("cancel", request):
            return _problem(503, "no")
        job = self.jobs.get(request.path_params["job"])
        if job is None:
            return _problem(404, "no such job")
        if job.process.poll() is None:
            job.is_cancelled = True
            job.end()
        return Response(status_code=204)

    async def _file(self, request: Request) -> Response:
        if self._fault("file", request):
            return _problem(503, "no")
        path = self.root / str((await request.json())["path"]).lstrip("/")
        task = f"task-{len(self.tasks) + 1}"
        if not path.exists():
            self.tasks[task] = {"id": task, "status": "failed", "result": {"error": "no such file"}}
        elif request.path_params["command"] == "ls":
            files = [
                {"name": each.name, "type": "directory" if each.is_dir() else "file", "size": str(each.stat().st_size)}
                for each in path.iterdir()
            ]
            hostile = {"name": "../../../escaped", "type": "file", "size": "1"}
            self.tasks[task] = {"id": task, "status": "completed", "result": {"output": [*files, hostile]}}
        else:
            content = base64.b64encode(path.read_bytes()).decode()
            self.tasks[task] = {"id": task, "status": "completed", "result": {"output": content}}
        return JSONResponse({"task_id": task, "task_uri": f"/api/v2/task/{task}"})

    async def _task(self, request: Request) -> Response:
        return JSONResponse(self.tasks[request.path_params["task"]])


def _problem(status: int, detail: str) -> Response:
    body = {"type": "about:blank", "status": status, "instance": "/", "title": "No", "detail": detail}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")
