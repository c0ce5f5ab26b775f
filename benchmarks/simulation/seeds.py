"""Run the small scenario of `renkei.sim` for many seeds; the result goes to seeds.json beside this.

    python benchmarks/simulation/seeds.py 10000 --jobs 2

The file is written anew after every hundred seeds; a run that was stopped goes on from there with --resume. Exits with
1 when a promise was broken.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from renkei.sim import Outcome, run_seeds

RESULT = Path(__file__).with_name("seeds.json")
EVERY = 100


def main() -> int:
    """Run the seeds from 0 on and return the exit code."""
    parser = argparse.ArgumentParser(description="Run the small scenario for many seeds.")
    parser.add_argument("seeds", type=int, help="how many, from 0 on")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time (default: 2)")
    parser.add_argument("--out", type=Path, default=RESULT, help=f"where the result goes (default: {RESULT})")
    parser.add_argument("--resume", action="store_true", help="go on from what the result has, if it is there")
    arguments = parser.parse_args()
    known: dict[str, Any] = {}
    if arguments.resume and arguments.out.exists():
        known = json.loads(arguments.out.read_text())
    began, total = time.monotonic() - known.get("seconds", 0.0), Counter[str](known.get("counts", {}))
    broken: list[dict[str, object]] = known.get("problems", [])
    n = first = known.get("seeds", 0)

    def take(outcome: Outcome) -> None:
        nonlocal n
        n += 1
        total.update(outcome.counts)
        if outcome.problem:
            broken.append({"seed": outcome.seed, "problem": outcome.problem})
            print(f"seed {outcome.seed}  {outcome.problem}", file=sys.stderr)
        if n % EVERY == 0:
            write()

    def write(**more: float) -> None:
        result: dict[str, object] = {
            "seeds": n,
            "broken": len(broken),
            "seconds": round(time.monotonic() - began, 1),
            "processes": arguments.jobs,
            "counts": dict(sorted(total.items())),
            "problems": broken,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result | more, indent=1) + "\n")

    run_seeds(range(first, arguments.seeds), arguments.jobs, take)
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    write(**({} if first else {"cpu_seconds": round(sum(each.ru_utime + each.ru_stime for each in spent), 1)}))
    print(arguments.out.read_text())
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
