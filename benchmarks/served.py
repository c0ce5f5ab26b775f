"""How many no-op runs a second between two processes over HTTP, durable at both ends; and how long a single one takes.

One process is a site served on loopback, the other drives a campaign over it: every request is signed and written down
before it leaves, checked, decided, reserved and written down before it is answered; every end is streamed back.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio
from loopback import campaign, gaps_ms, prepare, served

from renkei.home import Home, Session
from renkei.ledger import verify

OFFERS = """
[[procedures]]
use = "renkei.science.computing"
[[allocations]]
team = "bench"
quantity = "1000000 run"
"""


async def drive(folder: Path, name: str, trials: int, parallel: int) -> float:
    """Run a campaign of no-op trials at the served site; return its wall time in seconds."""
    home = Home(folder / "home")
    file = campaign(name, trials, parallel, team="bench")
    with home.locked():
        home.adopt(folder / "agreement.toml", None, "bench")
        session = Session(home)
        async with session.opened(["there"], "bench"):
            drive = await session.begin(file, folder)
            began = time.perf_counter()
            await session.drive(drive)
            return time.perf_counter() - began


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=20_000)
    arguments.add_argument("--parallel", type=int, default=1024)
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    gc.set_threshold(20_000, 20, 50)  # as the command line does
    import scipy.stats.qmc  # noqa: F401 - the planner needs it; its import is no part of a run

    rates: list[float] = []
    trips: list[float] = []
    for _ in range(given.repeat):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, OFFERS)
            with served(folder):
                rates.append(given.runs / anyio.run(drive, folder, "many", given.runs, given.parallel))
                anyio.run(drive, folder, "one-by-one", 300, 1)
            trips += gaps_ms(folder / "home" / "campaigns" / "one-by-one" / "ledger.db")
            ledgers = [folder / "data" / "ledger.db", *(folder / "home").glob("campaigns/*/ledger.db")]
            assert all(verify(path).is_sound for path in ledgers)
    figures = {
        "runs_per_s": round(statistics.median(rates)),
        "runs_per_s_all": [round(rate) for rate in rates],
        "round_trip_p50_ms": round(statistics.median(trips), 2),
        "round_trip_p99_ms": round(statistics.quantiles(trips, n=100)[-1], 2),
    }
    if given.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    print(f"no-op runs over HTTP, two processes, durable at both ends: {figures['runs_per_s']:,} a second")
    print(f"  each time: {', '.join(f'{rate:,}' for rate in figures['runs_per_s_all'])}")
    print(f"one run after another: p50 {figures['round_trip_p50_ms']} ms, p99 {figures['round_trip_p99_ms']} ms")


if __name__ == "__main__":
    main()
