"""The part "filesystem": every operation becomes a task on the root of a storage resource."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from renkei.api.iri._fileops import OPERATIONS, FileOperation
from renkei.api.iri._filework import SMALL_BYTES
from renkei.api.iri._http import Call, Operation, Problem, Reply, not_found, reply
from renkei.api.iri._multipart import part_of
from renkei.api.iri._paths import Root
from renkei.api.iri._place import Place
from renkei.api.iri._status import Watch
from renkei.api.iri._tasks import Tasks


class UploadQuery(msgspec.Struct, frozen=True):
    """Where an upload goes."""

    path: str


def roots_of(place: Place) -> dict[str, tuple[Root, bool]]:
    """Return root and whether it is read-only, by id, of every storage resource whose files users see."""
    return {
        resource.id: (Root(Path(resource.root)), resource.is_readonly)
        for resource in place.resources.values()
        if resource.type == "storage" and resource.root
    }


def operations(place: Place, watch: Watch, tasks: Tasks, root: str) -> Sequence[Operation]:
    """Return the operations below `root`, for example "/api/v2"."""
    here = f"{root}/filesystem"

    async def get_resources(call: Call) -> Reply:
        watch.look()
        return reply(
            [watch.shown(call, resource) for resource in place.resources.values() if resource.id in tasks.roots]
        )

    async def upload(call: Call) -> Reply:
        _writable(tasks, call)
        content = part_of(call.raw, call.headers.get(b"content-type", b""), "file")
        if len(content) > SMALL_BYTES:
            raise Problem(413, f"A file may have at most {SMALL_BYTES} bytes here.")
        return await _added(tasks, call, OPERATIONS["upload"], {"path": call.query.path}, content)

    return [
        Operation("POST", f"{here}/resources", "getFilesystemResources", get_resources, is_open=True),
        *(
            Operation("POST", f"{here}/{name}/{{resource_id}}", name, _handler(tasks, operation), body=operation.args)
            for name, operation in OPERATIONS.items()
            if name != "upload"
        ),
        Operation("POST", f"{here}/upload/{{resource_id}}", "upload", upload, UploadQuery, bytes),
    ]


def _handler(tasks: Tasks, operation: FileOperation[msgspec.Struct]) -> Callable[[Call], Awaitable[Reply]]:
    async def handle(call: Call) -> Reply:
        if operation.is_change:
            _writable(tasks, call)
        return await _added(tasks, call, operation, msgspec.to_builtins(call.body), None)

    return handle


def _writable(tasks: Tasks, call: Call) -> None:
    """Check that the resource is there and may be written to."""
    resource = call.path["resource_id"]
    if resource in tasks.roots and tasks.roots[resource][1]:
        raise Problem(403, f"Resource '{resource}' is read-only.")


async def _added(
    tasks: Tasks, call: Call, operation: FileOperation[msgspec.Struct], args: dict[str, object], content: bytes | None
) -> Reply:
    resource = call.path["resource_id"]
    if resource not in tasks.roots:
        raise not_found("storage resource", resource)
    task = await tasks.add(call.identity.user, resource, call.operation.name, args, content)
    return reply({"task_id": task, "task_uri": call.url("task", task)}, operation.status)
