"""Runs jobs at any facility that has the DOE IRI Facility API, version 2.

The run's id is in the job's name and is the Idempotency-Key of its submission. Where jobs do not see the site's folder,
`options` in [executor] say so: `directory=/their/folder` is where they run, `storage=ID` the facility's storage
resource that their files are fetched from, and `path=/there` what that calls the folder, if otherwise. Files of at most
5 MiB are fetched. Without a storage, the state and the exit code that the API gives are all the evidence there is.
"""

import base64
import math
import os
import re
import shlex
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from renkei.clock import Clock
from renkei.errors import ExecutorError, ReplyUnreadable, SubmitRejected, UsageError
from renkei.executors._batch import BatchExecutor
from renkei.executors._command import write_whole
from renkei.executors._scheduler import Meaning, Seen, Submission
from renkei.executors._script import BEGAN_BEFORE
from renkei.model.serving import is_loopback
from renkei.model.site_file import ExecutorTable

STATES: Mapping[str, Meaning] = {
    "new": Meaning("queued", text="Taken, and not yet in a queue."),
    "queued": Meaning("queued", text="Waits."),
    "held": Meaning("held", text="Held back."),
    "active": Meaning("active", text="Runs."),
    "fetching": Meaning("active", text="Our own word: it is over, and its files could not be fetched yet."),
    "completed": Meaning("ended", text="Over, with exit code 0."),
    "failed": Meaning("ended", text="Over, with another exit code, or ended by the facility."),
    "failed: time": Meaning("ended", "time", text="Failed, with a message of a time limit and no exit code."),
    "failed: memory": Meaning("ended", "memory", text="Failed, with a message of memory and no exit code."),
    "canceled": Meaning("ended", "cancelled", text="Cancelled."),
}
"""What the states of the IRI API mean; failed jobs without an exit code are told apart by their message."""

TIMEOUT_S = 30.0
"""How long an answer may take."""
FILE_BYTES = 5_242_880
"""The longest file that the API gives."""
MAX_FILES = 500
MAX_DEPTH = 4
PAGE = 1000
MAX_PAGES = 20
FETCH_S = 3600.0
"""For how long files are asked for that are not given; then what the API says has to do."""
TASK_S = 120.0
"""How long a filesystem task may take."""

_PREFIX = "renkei-"
_TIME = re.compile(r"time.?limit|wall.?time|timed? ?out|elapse", re.IGNORECASE)
_MEMORY = re.compile(r"out.of.memory|memory.limit|\boom\b", re.IGNORECASE)
_OPTIONS = ("directory", "storage", "path")
_PATH = re.compile(r"/[A-Za-z0-9._/-]*")
_NAME = re.compile(r"[^/\0]{1,255}")
_OURS = ("request.json", "job.sh", "started", "times", "exit_code")


class _Status(msgspec.Struct, frozen=True):
    state: str
    time: float | None = None
    message: str | None = None
    exit_code: int | None = None


class _Spec(msgspec.Struct, frozen=True):
    name: str | None = None


class _Job(msgspec.Struct, frozen=True):
    id: str
    status: _Status | None = None
    job_spec: _Spec | None = None


class _Entry(msgspec.Struct, frozen=True):
    name: str
    type: str = ""
    size: int | str | None = None


class _Task(msgspec.Struct, frozen=True):
    status: str = "pending"
    result: dict[str, Any] | None = None


class _TaskId(msgspec.Struct, frozen=True):
    task_id: str


class _Record(msgspec.Struct):
    """What is kept of a submission: where its files are to go, and its id at the facility once that is known."""

    directory: str
    id: str = ""


class IriScheduler:
    """The `Scheduler` of a facility with the IRI API.

    Args:
        table: [executor] of site.toml.
        data: The site's folder.
        clock: Time, blocking calls.
        transport: What carries requests; httpx's own when left out.

    Raises:
        UsageError: The table does not say where and with which token, or says it wrongly.
    """

    name, title = "iri", "The IRI facility"
    states: Mapping[str, Meaning] = STATES
    number_variable, index_variable, array_limit = "RENKEI_NAME", "", 0

    def __init__(
        self, table: ExecutorTable, data: Path, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        missing = [word for word in ("url", "resource", "token") if getattr(table, word) is None]
        if missing:
            raise UsageError(f"[executor] of kind iri needs {' and '.join(missing)}.")
        url = urlsplit(str(table.url))
        if url.scheme != "https" and not is_loopback(url.hostname or ""):
            raise UsageError(f"{table.url} would carry the token in the clear.", "Give an https URL.")
        self._url = str(table.url).rstrip("/").removesuffix("/api/v2") + "/api/v2"
        self._resource, self._token = quote(str(table.resource), safe=""), Path(str(table.token))
        self._queue, self._account = table.queue or "", table.account or ""
        self._remote, self._storage, self._path = _places(table.options)
        self._records, self._folder = dict[str, _Record](), data.absolute() / "iri"
        self._clock, self._transport = clock, transport
        self._asked_since: dict[str, float] = {}
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        for file in self._folder.glob(f"{_PREFIX}*"):
            try:
                self._records[file.name] = msgspec.json.decode(file.read_bytes(), type=_Record)
            except (OSError, msgspec.DecodeError):
                continue  # half written when the site stopped: its job is still found by its name
        self.read_token()

    async def submit(self, submission: Submission) -> str:
        """See `Scheduler.submit`."""
        record = self._records[submission.name] = _Record(str(submission.script.parent))
        spec = await self._clock.blocking(lambda: self._spec(submission))
        await self._keep(submission.name, record)
        headers = {"Idempotency-Key": submission.name.removeprefix(_PREFIX)}
        async with self._client() as client:
            answer = await _ask(client, "POST", f"compute/job/{self._resource}", json=spec, headers=headers)
        if answer.status_code in (200, 201):
            record.id = _decoded(answer, _Job).id
            await self._keep(submission.name, record)
            return record.id
        text = _problem(answer)
        if answer.status_code in (400, 401, 403, 404, 405, 413, 422, 501) and "idempotency" not in text.lower():
            await self._forget(submission.name)
            raise SubmitRejected(text)
        raise ExecutorError(f"The IRI facility did not take the job: {text}")

    async def poll(self) -> Sequence[Seen]:
        """See `Scheduler.poll`. Files of jobs that are over are fetched before these are shown."""
        async with self._client() as client:
            return [seen for job in await self._jobs(client, False) if (seen := await self._seen(client, job))]

    async def past(self, since: float) -> Sequence[Seen]:
        """See `Scheduler.past`."""
        async with self._client() as client:
            return [seen for job in await self._jobs(client, True) if (seen := await self._seen(client, job))]

    async def cancel(self, jobs: Sequence[Seen]) -> None:
        """See `Scheduler.cancel`."""
        async with self._client() as client:
            for job in jobs:
                path = f"compute/cancel/{self._resource}/{quote(job.number, safe='')}"
                answer = await _ask(client, "DELETE", path)
                if not answer.is_success and answer.status_code not in (404, 409):
                    raise ExecutorError(f"The IRI facility did not cancel the job: {_problem(answer)}")

    async def check(self) -> Sequence[str]:
        """See `Scheduler.check`."""
        try:
            async with self._client() as client:
                answer = await _ask(client, "POST", f"compute/status/{self._resource}", params={"limit": 1}, json={})
                if not answer.is_success:
                    return [f"The IRI facility does not let us see jobs of the resource: {_problem(answer)}"]
                if self._storage:
                    try:
                        await self._task(client, "ls", path=self._path)
                    except _NotThere as error:
                        return [f"The facility's storage does not list the folder {self._path}: {error.message}"]
        except ExecutorError as error:
            return [error.message]
        return []

    def read_token(self) -> str:
        """Return the access token; its file is read each time, since tokens are renewed.

        Raises:
            UsageError: It cannot be read, or others can read it too.
        """
        try:
            mode = self._token.stat().st_mode
            token = self._token.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The token in {self._token} cannot be read: {error}.") from error
        if mode & 0o077:
            raise UsageError(f"Others can read the token in {self._token}.", f"Say: chmod 600 {self._token}")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(f"{self._token} does not hold one token and nothing else.")
        return token

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[httpx.AsyncClient]:
        try:
            token = await self._clock.blocking(self.read_token)
        except UsageError as error:
            raise ExecutorError(error.message, error.hint) from error
        async with httpx.AsyncClient(
            base_url=f"{self._url}/",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=TIMEOUT_S,
            transport=self._transport,
            verify=False if self._tls is None else self._tls,
            trust_env=False,
        ) as client:
            yield client

    def _spec(self, submission: Submission) -> dict[str, Any]:
        """Return the JobSpec of a submission."""
        asked = submission.resources
        resources: dict[str, Any] = {
            "node_count": asked.nodes,
            "process_count": asked.processes,
            "cpu_cores_per_process": asked.cores,
            "exclusive_node_use": asked.is_exclusive,
        }
        resources |= {"gpu_cores_per_process": asked.gpus} if asked.gpus else {}
        resources |= {"memory": asked.memory_bytes} if asked.memory_bytes else {}
        attributes = {
            "duration": math.ceil(submission.time_limit_s),
            "queue_name": asked.queue or self._queue,
            "account": asked.account or self._account,
            "reservation_id": asked.reservation,
            "custom_attributes": asked.extra,
        }
        if self._remote:
            shell = ["-c", self._script(submission)]
        else:
            shell = ["-c", 'exec /bin/bash "$0" >>"$1" 2>&1', str(submission.script), submission.log]
        return {
            "executable": "/bin/bash",
            "arguments": shell,
            "name": submission.name,
            "environment": {self.number_variable: submission.name},
            "resources": resources,
            "attributes": {name: value for name, value in attributes.items() if value},
        }

    def _script(self, submission: Submission) -> str:
        """Return the script that brings along what a job needs, for where the site's folder is not seen."""
        here, there = submission.script.parent, f"{self._remote}/{submission.name}"
        script = submission.script.read_text().replace(str(here), there)
        request = (here / "request.json").read_text()
        parts = "".join(
            f"base64 -d >{name}.$$ <<'END' && mv -f {name}.$$ {name} || exit 72\n"
            f"{base64.encodebytes(text.encode()).decode()}END\n"
            for name, text in (("request.json", request), ("job.sh", script))
        )
        return (
            f"umask 077; mkdir -p {shlex.quote(there)} && cd {shlex.quote(there)} || exit 72\n{parts}"
            "[ -e times ] || date +%s.%N >times\n"
            "/bin/bash job.sh >>job.log 2>&1\ncode=$?\n"
            f"[ $code = {BEGAN_BEFORE} ] || date +%s.%N >>times\nexit $code\n"
        )

    async def _jobs(self, client: httpx.AsyncClient, is_past: bool) -> list[_Job]:
        found: list[_Job] = []
        for page in range(MAX_PAGES):
            params = {"historical": str(is_past).lower(), "include_spec": "true", "limit": PAGE, "offset": page * PAGE}
            answer = await _ask(client, "POST", f"compute/status/{self._resource}", params=params, json={})
            if not answer.is_success:
                raise ExecutorError(f"The IRI facility does not answer: {_problem(answer)}")
            jobs = _decoded(answer, list[_Job])
            found += jobs
            if len(jobs) < PAGE:
                break
        return found

    async def _seen(self, client: httpx.AsyncClient, job: _Job) -> Seen | None:
        """Return one of our jobs; its files are then here, if it is over."""
        names = {record.id: name for name, record in self._records.items() if record.id}
        name = (job.job_spec.name if job.job_spec else None) or names.get(job.id) or ""
        if not name.startswith(_PREFIX) or job.status is None:
            return None
        status, meaning = job.status, STATES.get(job.status.state)
        is_over = meaning is not None and meaning.state == "ended"
        record = self._records.get(name)
        if is_over and record is not None:
            if self._remote and not await self._fetch(client, name, Path(record.directory), status):
                return Seen(name, job.id, "fetching", started_at=status.time)
            await self._forget(name)
        return Seen(
            name,
            job.id,
            _word(status),
            reason=status.message or "",
            exit_code=status.exit_code if is_over else None,
            started_at=status.time if status.state == "active" else None,
            ended_at=status.time if is_over else None,
        )

    # ---- files ---------------------------------------------------------------------------------------------------

    async def _fetch(self, client: httpx.AsyncClient, name: str, directory: Path, status: _Status) -> bool:
        """Bring the files of a job that is over, and what the API says of it; returns whether that is all done."""
        files: dict[str, bytes] = {}
        if self._storage:
            now = self._clock.monotonic()
            asked_since = self._asked_since.setdefault(name, now)
            try:
                await self._walk(client, f"{self._path}/{name}", "", files, 0)
            except _NotThere:
                if status.state == "completed" and now - asked_since < FETCH_S:
                    return False  # it ran, so its folder is there
            except ExecutorError:
                if now - asked_since < FETCH_S:
                    return False
            del self._asked_since[name]
        code = status.exit_code
        if status.state in ("completed", "failed") and code is not None and code >= 0 and "not_started" not in files:
            files.setdefault("exit_code", str(code).encode())
        await self._clock.blocking(lambda: _put(directory, files))
        return True

    async def _walk(
        self, client: httpx.AsyncClient, folder: str, below: str, files: dict[str, bytes], depth: int
    ) -> None:
        try:
            listed = msgspec.convert(await self._task(client, "ls", path=folder), list[_Entry], strict=False)
        except msgspec.ValidationError as error:
            raise ReplyUnreadable(f"The facility's list of files cannot be read: {error}.") from error
        for entry in listed:
            name = entry.name.rstrip("/").rpartition("/")[2]
            if not _NAME.fullmatch(name) or name in (".", "..") or len(files) >= MAX_FILES:
                continue
            size = int(str(entry.size)) if str(entry.size).isdecimal() else 0
            if entry.type[:1] == "d":
                if depth < MAX_DEPTH:
                    await self._walk(client, f"{folder}/{name}", f"{below}{name}/", files, depth + 1)
            elif entry.type[:1] in ("-", "f", "") and size <= FILE_BYTES:
                try:
                    text = await self._task(client, "download", path=f"{folder}/{name}")
                    files[below + name] = base64.b64decode(str(text), validate=True)
                except _NotThere:
                    continue
                except ValueError as error:
                    raise ReplyUnreadable(f"The facility's '{name}' is not base64.") from error

    async def _task(self, client: httpx.AsyncClient, command: str, **asked: object) -> object:
        """Have a filesystem operation done and return its output.

        Raises:
            _NotThere: The facility says that it cannot be done.
            ExecutorError: It does not answer.
        """
        answer = await _ask(client, "POST", f"filesystem/{command}/{quote(self._storage, safe='')}", json=asked)
        if answer.status_code == 404:
            raise _NotThere(_problem(answer))
        if not answer.is_success:
            raise ExecutorError(f"The IRI facility does not give files: {_problem(answer)}")
        path = f"task/{quote(_decoded(answer, _TaskId).task_id, safe='')}"
        began, pause = self._clock.monotonic(), 0.02
        while self._clock.monotonic() - began < TASK_S:
            answer = await _ask(client, "GET", path)
            if not answer.is_success:
                raise ExecutorError(f"The IRI facility does not give files: {_problem(answer)}")
            task = _decoded(answer, _Task)
            if task.status == "completed":
                return task.result["output"] if task.result and "output" in task.result else None
            if task.status in ("failed", "canceled"):
                raise _NotThere(str(task.result)[:300])
            await self._clock.sleep(pause)
            pause = min(1.0, pause * 2)
        raise ExecutorError("The IRI facility takes too long to give files.")

    async def _keep(self, name: str, record: _Record) -> None:
        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / name, msgspec.json.encode(record).decode())

        await self._clock.blocking(write)

    async def _forget(self, name: str) -> None:
        self._records.pop(name, None)
        await self._clock.blocking(lambda: (self._folder / name).unlink(missing_ok=True))


class _NotThere(ExecutorError):  # noqa: N818 - an answer like any other
    """A filesystem operation failed at the facility: most likely, there is no such file."""


def iri_executor(table: ExecutorTable, data: Path, clock: Clock) -> BatchExecutor:
    """Return the executor of a site in front of an IRI facility.

    Raises:
        UsageError: The table does not say where and with which token, or says it wrongly.
    """
    return BatchExecutor(IriScheduler(table, data, clock), table, data, clock)


def _places(options: Sequence[str]) -> tuple[str, str, str]:
    """Return the folder of jobs, the storage and its path of that folder, "" where they are not given."""
    found: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in _OPTIONS or not value:
            raise UsageError(f"'{option}' is no option of kind iri.", f"Options are {', '.join(_OPTIONS)}: NAME=VALUE.")
        if name != "storage" and not _PATH.fullmatch(value):
            raise UsageError(f"'{value}' is not a plain absolute path.")
        found[name] = value
    if ("storage" in found or "path" in found) and "directory" not in found:
        raise UsageError(
            "options in [executor] name a storage, but no directory.", "Say directory=/where/jobs/run too."
        )
    directory = found.get("directory", "").rstrip("/")
    return directory, found.get("storage", ""), found.get("path", directory).rstrip("/")


async def _ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    try:
        return await client.request(method, path, **more)
    except httpx.HTTPError as error:
        raise ExecutorError(f"The IRI facility gave no answer: {type(error).__name__}: {error}") from error


def _decoded(answer: httpx.Response, kind: Any) -> Any:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.DecodeError as error:
        raise ReplyUnreadable(f"What the IRI facility answers cannot be read: {error}.") from error


def _problem(answer: httpx.Response) -> str:
    """Return what an answer says is wrong."""
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, Any])
        text = str(body.get("detail") or body.get("title") or body)
    except msgspec.DecodeError:
        text = answer.text
    return f"{answer.status_code} {text[:500].strip()}"


def _put(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a job's directory, what says that it is over last, with the times that the job noted."""
    times = [float(word) for word in files.get("times", b"").decode(errors="replace").split() if _is_time(word)]
    for path, content in files.items():
        if path not in _OURS:
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for name, time in (("started", times[:1]), ("exit_code", times[1:2])):
        content = files.get(name, b"").decode(errors="replace").strip()
        if content and not (directory / name).exists():
            write_whole(directory / name, content)
            if time:
                os.utime(directory / name, (time[0], time[0]))


def _word(status: _Status) -> str:
    """Return a key of `STATES` for where a job stands, or what the facility says if it is none."""
    if status.state == "failed" and status.exit_code is None:
        for word, pattern in (("time", _TIME), ("memory", _MEMORY)):
            if pattern.search(status.message or ""):
                return f"failed: {word}"
    return status.state


def _is_time(word: str) -> bool:
    return bool(re.fullmatch(r"\d{9,11}\.\d{1,9}", word))
