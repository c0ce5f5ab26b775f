"""How many no-op runs a second between two processes over HTTP, durable at both ends; and how long a single one takes.

One process is a site served on loopback, the other drives a campaign over it: every request is signed and written down
before it leaves, checked, decided, reserved and written down before it is answered; every end is streamed back.
"""

import argparse
import gc
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import anyio

from renkei.home import Home, Session
from renkei.ledger import LedgerReader, verify
from renkei.model.agreement import load_agreement
from renkei.model.campaign_file import parse_campaign
from renkei.trust.endorsement import endorse
from renkei.trust.keys import Key

AGREEMENT = """
[agreement]
name = "bench"
version = 1
starts = 2026-01-01
ends = 2099-12-31
[parties.here]
name = "Here"
key = "{party}"
[institutions.lab]
name = "Lab"
party = "here"
key = "{lab}"
[sites.there]
institution = "lab"
url = "http://127.0.0.1:{port}"
[teams.bench]
name = "Bench"
institutions = ["lab"]
[[rules]]
id = "open"
effect = "allow"
"""

SITE = """
[site]
name = "there"
institution = "lab"
key = "keys/lab.key"
agreement = "agreement.toml"
[executor]
workers = 1
[serve]
port = {port}
[[procedures]]
use = "renkei.science.computing"
[[allocations]]
team = "bench"
quantity = "1000000 run"
"""

CAMPAIGN = """
[campaign]
name = "{name}"
team = "bench"
stop = {{ trials = {trials} }}
[space]
x = {{ type = "real", low = 0.0, high = 1.0 }}
[[objective]]
output = "value"
goal = "minimize"
[[source]]
procedure = "computing.echo"
[planner]
name = "sobol"
parallel = {parallel}
"""


def prepare(folder: Path) -> None:
    """Write the files of a site that is served and of the agreement that it works under."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    party, lab = Key.generate("here"), Key.generate("lab")
    (folder / "keys").mkdir()
    lab.save(folder / "keys" / "lab.key")
    path = folder / "agreement.toml"
    path.write_text(AGREEMENT.format(party=party.public.text, lab=lab.public.text, port=port))
    endorse(party, load_agreement(path), path)
    (folder / "site.toml").write_text(SITE.format(port=port))


async def drive(folder: Path, name: str, trials: int, parallel: int) -> float:
    """Run a campaign of no-op trials at the served site; return its wall time in seconds."""
    home = Home(folder / "home")
    campaign = parse_campaign(CAMPAIGN.format(name=name, trials=trials, parallel=parallel))
    with home.locked():
        home.adopt(folder / "agreement.toml", None, "bench")
        session = Session(home)
        async with session.opened(["there"], "bench"):
            drive = await session.begin(campaign, folder)
            began = time.perf_counter()
            await session.drive(drive)
            return time.perf_counter() - began


def round_trips_ms(folder: Path, name: str) -> list[float]:
    """Return the milliseconds from one run's end to the next one's: planner, request, run and report in sequence."""
    with LedgerReader(folder / "home" / "campaigns" / name / "ledger.db") as reader:
        ends = [record.at for record in reader.records() if record.kind == "trial.observed"]
    return [1e3 * (b - a) for a, b in pairwise(ends)]


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
            prepare(folder)
            argv = [sys.executable, "-m", "renkei", "site", "serve", str(folder / "site.toml")]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as site:
                try:
                    assert site.stdout is not None
                    assert site.stdout.readline().startswith(b"ready ")
                    rates.append(given.runs / anyio.run(drive, folder, "many", given.runs, given.parallel))
                    anyio.run(drive, folder, "one-by-one", 300, 1)
                    site.terminate()
                    site.wait(30)
                finally:
                    if site.poll() is None:
                        os.killpg(site.pid, signal.SIGKILL)
            trips += round_trips_ms(folder, "one-by-one")
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
