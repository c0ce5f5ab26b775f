"""Kill, cut off, fill up and stop real processes, then judge what is on disk.

Exits with 1 when a promise was broken, or when the p99 of recovery is over its bar; then the evidence is kept.
"""

# pyright: basic
# What the tests have for Slurm lies where the type checker does not look.

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import Chaos
from benchmarks.chaos.judge import PROMISES, Verdict, judge
from benchmarks.chaos.page import BAR_S
from benchmarks.chaos.place import Place
from benchmarks.chaos.processes import Recovery
from benchmarks.chaos.slurm import Cluster, missing  # pyright: ignore[reportAttributeAccessIssue]

DISK_BYTES = 256 << 20
"""How large each of the small disks is: enough for what a run leaves, little enough to be filled at once."""


def main() -> None:
    """Read the command line, run, say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="how many processes are killed")
    parser.add_argument("--minutes", type=float, default=35.0, help="how long that may take")
    parser.add_argument("--seed", type=int, default=20261122, help="rules what is harmed, and how")
    parser.add_argument("--trials", type=int, default=200, help="of each campaign")
    parser.add_argument("--no-slurm", action="store_true", help="have both sites run on this machine alone")
    parser.add_argument("--bar", type=float, default=BAR_S, help="what the p99 of recovery must be under, in seconds")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result, folder = run(given.seed, given.kills, given.minutes, given.trials, not given.no_slurm)
    except KeyboardInterrupt:  # everything that was started is ended by now
        sys.exit(128 + signal.SIGINT)
    is_good = (
        not any(result["broken"].values()) and not result["unfinished"] and result["recovery"]["p99_s"] < given.bar
    )
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    _tell(result)
    if is_good and not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"The evidence is in {folder}")
    sys.exit(0 if is_good else 1)


def _interrupt(number: int, frame: object) -> None:
    """End as Ctrl-C does: everything that was started is ended."""
    del number, frame
    signal.raise_signal(signal.SIGINT)


def run(seed: int, n_kills: int, minutes: float, n_trials: int, with_slurm: bool) -> tuple[dict[str, Any], Path]:
    """Run and judge.

    Returns:
        The result, plain JSON, and the folder with the evidence.
    """
    left_out: list[str] = []
    why_no_slurm = missing() if with_slurm else "it was not wanted"
    if why_no_slurm:
        left_out.append(f"Slurm: {why_no_slurm}")
    began = time.monotonic()
    with ExitStack() as stack:
        place = stack.enter_context(Place(n_trials, has_slurm=not why_no_slurm, disk_bytes=DISK_BYTES))
        print(f"Working in {place.folder}", flush=True)
        if not place.disks:
            left_out.append("full disks: nothing can be mounted here")
        cluster = None
        if not why_no_slurm:
            cluster = stack.enter_context(Cluster(place.folder / "slurm"))
            os.environ |= cluster.environment
        chaos = Chaos(place, seed, n_kills, minutes, cluster)
        unfinished = asyncio.run(chaos.run())
        seconds = time.monotonic() - began
        verdict = judge(place, chaos.log.witnesses, stops_s=4.5)
        if cluster is not None:
            _count_jobs(cluster, verdict)
    exits = Counter(f"{who} with {code}: {words[:160]}" for who, code, words in chaos.log.exits if code)
    result = {
        "seed": seed,
        "seconds": round(seconds, 1),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "load": round(statistics.fmean(chaos.loads or [0.0]), 1),
        "killed": chaos.n_killed,
        "kills": dict(sorted(chaos.kills.items())),
        "faults": dict(sorted(chaos.faults.items())),
        "left_out": left_out,
        "broken": dict(verdict.broken),
        "findings": verdict.findings[:100],
        "unfinished": unfinished,
        "counts": dict(sorted(verdict.counts.items())),
        "witnesses": len(chaos.log.witnesses),
        "killed_again_before_back": chaos.log.n_killed_again,
        "recovery": _spread([r for r in chaos.log.recoveries if not r.is_disturbed]),
        "recovery_disturbed": _spread([r for r in chaos.log.recoveries if r.is_disturbed]),
        "recovery_of": {
            who: _spread([r for r in chaos.log.recoveries if not r.is_disturbed and r.who == who])
            for who in chaos.processes
        },
        "ended_by_themselves": dict(exits.most_common()),
    }
    return result, place.folder


def _count_jobs(cluster: Cluster, verdict: Verdict) -> None:
    said = cluster.run("sacct", "-c", "-n", "-P", "-o", "JobID,State").stdout
    for state, n in Counter(line.split("|")[1] for line in said.splitlines() if "|" in line).items():
        verdict.counts[f"Slurm jobs {state}"] = n


def _spread(recoveries: Sequence[Recovery]) -> dict[str, float]:
    seconds = sorted(each.seconds for each in recoveries)
    if not seconds:
        return {"n": 0, "p50_s": 0.0, "p99_s": 0.0, "max_s": 0.0, "cpu_p50_s": 0.0}
    p99 = seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))]
    return {
        "n": len(seconds),
        "p50_s": round(statistics.median(seconds), 3),
        "p99_s": round(p99, 3),
        "max_s": round(seconds[-1], 3),
        "cpu_p50_s": round(statistics.median(each.cpu_s for each in recoveries), 3),
    }


def _tell(result: dict[str, Any]) -> None:
    print(f"{result['killed']} kills in {result['seconds']:g} s: {result['kills']}")
    print(f"other faults: {result['faults']}")
    for why in result["left_out"]:
        print(f"left out: {why}")
    print(f"{result['counts']}")
    for promise, what in PROMISES.items():
        print(f"{promise:12} {result['broken'][promise]:4}  {what}")
    for name in ("recovery", "recovery_disturbed"):
        print(f"{name}: {result[name]}")
    for words, n in result["ended_by_themselves"].items():
        print(f"ended by itself {n} times: {words}")
    for finding in result["findings"][:20]:
        print(f"  {finding}")
    if result["unfinished"]:
        print(f"unfinished: {result['unfinished']}")


if __name__ == "__main__":
    main()
