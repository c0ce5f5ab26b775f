"""Submits runs through the executor and waits to be killed: `python submitter.py FOLDER N SECONDS`."""

import sys
from pathlib import Path

import anyio
from crash_bench import executor_at, job_at

from renkei.executors import JobEnd


async def main(folder: Path, n: int, seconds: float) -> None:
    executor = executor_at(folder)

    async def report(ends: object) -> None:
        for end in ends:  # type: ignore[attr-defined]
            assert isinstance(end, JobEnd)
            print(end.run, end.outcome, flush=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(executor.serve, report)
        jobs = [job_at(folder, i, seconds) for i in range(n)]
        print("submitting", flush=True)
        await executor.submit(jobs[: n // 2])
        await anyio.sleep(0.15)
        await executor.submit(jobs[n // 2 :])


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
