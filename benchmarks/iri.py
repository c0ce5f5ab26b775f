"""What a request to the IRI API costs: milliseconds of the site's CPU, requests a second and how long they take.

A site is served on loopback by one process; this one keeps a number of connections busy. A job that is submitted is
checked, decided, reserved, written down and handed over before it is answered, and settled when it ended; that is all
in the figure, but for what the job itself does.
"""

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import anyio
from anyio.abc import SocketStream
from loopback import prepare, served

TOKEN = "benchmark"

OFFERS = """
[facility]
name = "Bench"
[[resources]]
id = "cluster"
name = "Cluster"
type = "compute"
[[resources]]
id = "files"
name = "Files"
type = "storage"
root = "."
[jobs]
[[tokens]]
sha256 = "{token}"
user = "bench"
team = "bench"
[[allocations]]
team = "bench"
quantity = "1000000 node-hour"
"""

JOB = json.dumps({"executable": "/bin/true", "attributes": {"duration": 60, "account": "bench"}})
REQUESTS = {
    "facility": ("GET", "/api/v2/facility", ""),
    "status/resources": ("GET", "/api/v2/status/resources", ""),
    "submit job": ("POST", "/api/v2/compute/job/cluster", JOB),
}


async def ask(stream: SocketStream, request: bytes) -> None:
    """Send one request and read its answer.

    Raises:
        RuntimeError: It is not 200.
    """
    await stream.send(request)
    answer = await stream.receive()
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += await stream.receive()
    head = answer[:end].lower()
    size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(answer) < end + 4 + size:
        answer += await stream.receive()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode())


async def load(port: int, request: bytes, n: int, connections: int) -> list[float]:
    """Return how many seconds each of `n` requests took, over so many connections at the same time."""
    took: list[float] = []
    left = iter(range(n))

    async def keep_busy() -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for _ in left:
                began = time.perf_counter()
                await ask(stream, request)
                took.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tasks:
        for _ in range(connections):
            tasks.start_soon(keep_busy)
    return took


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, without those of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port: int, pid: int, name: str, n: int, connections: int) -> dict[str, float | str]:
    """Return the figures of one kind of request."""
    method, path, body = REQUESTS[name]
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    anyio.run(load, port, request, min(n, 500), connections, backend_options={"use_uvloop": True})
    used, began = cpu_s(pid), time.perf_counter()
    took = anyio.run(load, port, request, n, connections, backend_options={"use_uvloop": True})
    seconds, used = time.perf_counter() - began, cpu_s(pid) - used
    return {
        "request": name,
        "cpu_ms": round(1e3 * used / n, 3),
        "per_s": round(n / seconds),
        "p50_ms": round(1e3 * statistics.median(took), 2),
        "p99_ms": round(1e3 * statistics.quantiles(took, n=100)[98], 2),
    }


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=10_000)
    arguments.add_argument("--jobs", type=int, default=2_000)
    arguments.add_argument("--connections", type=int, default=32)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        token = hashlib.sha256(TOKEN.encode()).hexdigest()
        port = prepare(Path(name), OFFERS.format(token=token))
        with served(Path(name)) as site:
            for kind in REQUESTS:
                n = given.jobs if kind == "submit job" else given.requests
                print(json.dumps(measure(port, site.pid, kind, n, given.connections)), flush=True)


if __name__ == "__main__":
    main()
