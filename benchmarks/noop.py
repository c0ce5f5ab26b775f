"""How many no-op trials a second, end to end, durable and accounted; next to Parsl HTEX on the same machine.

A trial here is: proposed by the Sobol planner, sent to one of two embedded sites in a signed batch, checked, decided,
reserved, run in a worker process, settled, reported, observed; every record on disk (synchronous=FULL) before the
next step, every ledger checkpointed at the end. Parsl runs the same empty function on the same number of workers and
does none of the rest. Quote the ratio, not the rates: machines differ.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio
from loopback import campaign, gaps_ms

from renkei.home import Home, Session
from renkei.ledger import verify

SITES = """
[sites.east]
procedures = "renkei.science.computing"
workers = 1
[sites.west]
procedures = "renkei.science.computing"
workers = 1
"""


async def drive(folder: Path, name: str, trials: int, parallel: int) -> float:
    """Run a campaign of no-op trials; return its wall time in seconds, from its start to its signed end."""
    home = Home(folder)
    file = campaign(name, trials, parallel, sites=SITES)
    with home.locked():
        home.embed(file.sites, file.team)
        session = Session(home)
        async with session.opened(["east", "west"]):
            drive = await session.begin(file, folder)
            began = time.perf_counter()
            await session.drive(drive)
            for site in session.sites.values():
                await site.checkpoint()
            return time.perf_counter() - began


def parsl_rate(n: int) -> float | None:
    """Return the no-op tasks a second of Parsl's HTEX with two workers, or None where it is not installed."""
    try:
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider
    except ImportError:
        return None
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # its programs lie there
    with tempfile.TemporaryDirectory() as folder:
        executor = HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            max_workers_per_node=2,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
            encrypted=False,
        )
        with parsl.load(Config(executors=[executor], run_dir=folder, strategy="none", initialize_logging=False)):
            echo = parsl.python_app(_echo)
            [future.result() for future in [echo(float(i)) for i in range(20)]]
            began = time.perf_counter()
            [future.result() for future in [echo(float(i)) for i in range(n)]]
            return n / (time.perf_counter() - began)


def _echo(x: float) -> float:
    return x


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=20_000)
    arguments.add_argument("--parallel", type=int, default=1024)
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    gc.set_threshold(20_000, 20, 50)  # as the command line does
    import scipy.stats.qmc  # noqa: F401 - the planner needs it; its import is no part of a trial

    rates: list[float] = []
    latencies: list[float] = []
    for _ in range(given.repeat):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            rates.append(given.trials / anyio.run(drive, home, "many", given.trials, given.parallel))
            anyio.run(drive, home, "one-by-one", 300, 1)
            latencies += gaps_ms(home / "campaigns" / "one-by-one" / "ledger.db")
            ledgers = [*home.glob("sites/*/ledger.db"), *home.glob("campaigns/*/ledger.db")]
            assert all(verify(path).is_sound for path in ledgers)
    parsl = parsl_rate(5_000)
    figures = {
        "trials_per_s": round(statistics.median(rates)),
        "trials_per_s_all": [round(rate) for rate in rates],
        "sequential_p50_ms": round(statistics.median(latencies), 2),
        "sequential_p90_ms": round(statistics.quantiles(latencies, n=10)[-1], 2),
        "parsl_htex_tasks_per_s": None if parsl is None else round(parsl),
        "ratio_to_parsl": None if parsl is None else round(statistics.median(rates) / parsl, 2),
    }
    if given.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    print(f"no-op trials, two embedded sites, durable and checkpointed: {figures['trials_per_s']:,} a second")
    print(f"  each time: {', '.join(f'{rate:,}' for rate in figures['trials_per_s_all'])}")
    print(f"one trial after another: p50 {figures['sequential_p50_ms']} ms, p90 {figures['sequential_p90_ms']} ms")
    if parsl is None:
        print("Parsl is not installed: pip install 'renkei[bench]'")
    else:
        print(f"Parsl HTEX, two workers, no records kept: {parsl:,.0f} tasks a second")
        print(f"ratio: {figures['ratio_to_parsl']}")


if __name__ == "__main__":
    main()
