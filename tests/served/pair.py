"""Two institutions with a site each, served as processes of their own, and campaigns over them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import MappingProxyType

from renkei.model.agreement import AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import new_agreement_text
from renkei.model.rule import Rule
from renkei.trust.endorsement import endorse
from renkei.trust.keys import Key

PROCEDURES = '''
import time
from pathlib import Path
from typing import Annotated
from annotated_types import Interval
from renkei import current_run, procedure

@procedure("lab.measure", version="1.0")
def measure(x: Annotated[float, Interval(ge=0, le=1)]) -> float:
    """Measure, and leave a mark of it outside that no crash takes back."""
    with open(Path(__file__).with_name("executions"), "a") as file:
        file.write(current_run().id + "\\n")
    time.sleep(0.02)
    return (x - 0.3) ** 2
'''

SITE = """
[site]
name = "{name}"
institution = "{institution}"
key = "keys/{institution}.key"
agreement = "agreement.toml"
data = "data-{name}"
{executor}
[serve]
port = {port}
[[procedures]]
use = "lab.py"
{resources}
[[allocations]]
team = "fusion"
quantity = "1000 run"
"""

CAMPAIGN = """
[campaign]
name = "joint"
team = "fusion"
retries = 50
stop = {{ trials = {trials} }}
[space]
x = {{ type = "real", low = 0.0, high = 1.0 }}
[[objective]]
output = "value"
goal = "minimize"
[[source]]
procedure = "lab.measure"
[planner]
name = "random"
parallel = 6
"""


def free_ports(n: int) -> list[int]:
    """Return ports of loopback that nobody listens at."""
    with_socket = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in with_socket]
    for each in with_socket:
        each.close()
    return ports


class Pair:
    """The folder of the two, and the processes that were started there."""

    def __init__(self, folder: Path, trials: int, executors: Mapping[str, str], resources: Mapping[str, str]) -> None:
        self.folder, self.home = folder, folder / "home"
        self.ports = free_ports(2)
        self.processes: dict[str, subprocess.Popen[str]] = {}
        keys = {name: Key.generate(name) for name in ("us", "jp", "us-lab", "jp-lab")}
        (folder / "keys").mkdir()
        for name, key in keys.items():
            key.save(folder / "keys" / f"{name}.key")
        labs = {f"{party}-lab": party for party in ("us", "jp")}
        text = new_agreement_text(
            "pair",
            starts=date(2026, 1, 1),
            ends=date(2099, 12, 31),
            parties={party: Party(name=party, key=keys[party].public.text) for party in labs.values()},
            institutions={
                lab: Institution(name=lab, party=party, key=keys[lab].public.text) for lab, party in labs.items()
            },
            sites={
                site: AgreementSite(institution=lab, url=f"http://127.0.0.1:{port}")
                for site, lab, port in zip(("east", "west"), labs, self.ports, strict=True)
            },
            teams={"fusion": Team(name="Fusion", institutions=tuple(labs))},
            rules=[Rule("open", "allow")],
        )
        path = folder / "agreement.toml"
        path.write_text(text)
        for party in labs.values():
            endorse(keys[party], parse_agreement(text), path)
        for name, institution, port in zip(("east", "west"), labs, self.ports, strict=True):
            engine, asked = executors.get(name, "[executor]\nworkers = 1"), resources.get(name, "")
            (folder / f"{name}.toml").write_text(
                SITE.format(name=name, institution=institution, port=port, executor=engine, resources=asked)
            )
        (folder / "lab.py").write_text(PROCEDURES)
        (folder / "campaign.toml").write_text(CAMPAIGN.format(trials=trials))

    def start(self, name: str, *words: object) -> "subprocess.Popen[str]":
        """Start a renkei command in a process group of its own, known as `name`."""
        with open(self.folder / f"{name}.err", "a") as err:
            process = self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "renkei", *map(str, words)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        return process

    def serve(self, name: str) -> None:
        """Serve a site and return once it is ready."""
        process = self.start(name, "site", "serve", f"{name}.toml")
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), (line, (self.folder / f"{name}.err").read_text())

    def kill(self, name: str) -> None:
        """Kill a process and all that it started, at once."""
        process = self.processes[name]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def stop(self, name: str) -> int:
        """Ask a process to end; return its exit code."""
        process = self.processes[name]
        process.terminate()
        process.communicate(timeout=20)
        return process.returncode

    def campaign(self) -> "subprocess.Popen[str]":
        """Begin the campaign, or go on with it."""
        if (self.home / "campaigns" / "joint" / "campaign.toml").exists():
            return self.start("campaign", "campaign", "resume", "joint", "--home", self.home, "--json")
        words = ("campaign", "run", "campaign.toml", "--agreement", "agreement.toml", "--home", self.home, "--json")
        return self.start("campaign", *words)

    def executions(self) -> list[str]:
        """Return the runs whose procedure was really called, in order."""
        path = self.folder / "executions"
        return path.read_text().split() if path.exists() else []

    def wait_for_executions(self, n: int) -> None:
        """Wait until so many runs were executed."""
        end = time.monotonic() + 60
        while len(self.executions()) < n:
            assert time.monotonic() < end, (self.folder / "campaign.err").read_text()
            time.sleep(0.02)

    def close(self) -> None:
        """End every process that is left."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdout is not None and not process.stdout.closed:
                process.communicate()


@contextmanager
def pair(
    folder: Path,
    trials: int = 60,
    executors: Mapping[str, str] = MappingProxyType({}),
    resources: Mapping[str, str] = MappingProxyType({}),
) -> Generator[Pair]:
    """Make the two in a folder; every process that is started there ends with the block.

    Args:
        folder: An empty folder.
        trials: How many trials the campaign has.
        executors: The table [executor] of a site, by its name; left out, one local worker.
        resources: The line of its procedures about resources, by the site's name.
    """
    made = Pair(folder, trials, executors, resources)
    try:
        yield made
    finally:
        made.close()
