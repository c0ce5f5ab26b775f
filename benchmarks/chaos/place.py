"""The folder of a run: two institutions with a site each, campaigns for two teams, disks that can be filled."""

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from renkei.model.agreement import AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import new_agreement_text
from renkei.model.rule import Rule
from renkei.trust.endorsement import endorse
from renkei.trust.keys import Key

SITES = {"east": "us-lab", "west": "jp-lab"}
"""The sites and the institutions that run them."""
PARTIES = {"us-lab": "us", "jp-lab": "jp"}
TEAMS = ("wide", "tight")
"""The second has so little at site east that it runs out."""
PER_HOUR = 3600.0
"""What an hour costs at either site, in node-hours: one for each second."""
HOT = 0.95
"""Above it a point cannot work."""

LAB = f'''
import os, time
from pathlib import Path
from typing import Annotated
from annotated_types import Interval
from renkei import Infeasible, current_run, procedure

MARKS = os.open(Path(__file__).with_name("executions"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@procedure("lab.measure", version="1.0")
def measure(x: Annotated[float, Interval(ge=0, le=1)]) -> float:
    """Measure, and leave marks of it outside that no crash takes back."""
    run = current_run().id
    os.write(MARKS, f"{{run}} began {{time.time():.6f}}\\n".encode())
    time.sleep(0.02 + 0.3 * x)
    os.write(MARKS, f"{{run}} ended {{time.time():.6f}}\\n".encode())
    if x > {HOT}:
        raise Infeasible("too hot")
    return (x - 0.3) ** 2
'''

MEASURE = f"""#!/bin/bash
# What lab.py does, for a batch system: measure.sh RUN X
marks=$(dirname "$0")/executions
echo "$1 began $EPOCHREALTIME" >>"$marks"
read -r seconds value hot < <(awk -v x="$2" 'BEGIN {{ print 0.02 + 0.3 * x, (x - 0.3) ^ 2, (x > {HOT}) }}')
sleep "$seconds"
echo "$1 ended $EPOCHREALTIME" >>"$marks"
[ "$hot" = 0 ] || exit 3
echo "{{\\"value\\": $value}}" >out.json
"""

SITE = """
[site]
name = "{name}"
institution = "{institution}"
key = "keys/{institution}.key"
agreement = "agreement.toml"
data = "{data}"
{executor}
time_limit = "20 s"
[serve]
port = {port}
[[{kind}]]
{offer}
charge = {{ unit = "node-hour", per_hour = {per_hour} }}
{outputs}
[[allocations]]
team = "wide"
quantity = "1000000 node-hour"
[[allocations]]
team = "tight"
quantity = "{tight} node-hour"
"""

COMMAND = """name = "lab.measure"
version = "1.0"
summary = "Measure."
command = ["./measure.sh", "{run}", "{x}"]
outputs_file = "out.json"
infeasible_exit_codes = [3]"""

COMMAND_TABLES = """[commands.parameters]
x = { type = "real", low = 0.0, high = 1.0 }
[commands.outputs]
value = { type = "real" }"""

CAMPAIGN = """
[campaign]
name = "{name}"
team = "{team}"
seed = {seed}
retries = 1000
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
parallel = 8
"""

LOCAL = '[executor]\nkind = "local"\nworkers = 2'
SLURM = '[executor]\nkind = "slurm"\nworkers = 8\nqueue = "short"\npoll = "300 ms"'


@dataclass
class Disk:
    """A folder whose disk can be filled up.

    Args:
        path: The folder, a disk of its own.
    """

    path: Path

    def fill(self) -> None:
        """Leave no byte free."""
        with open(self.path / "filler", "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue  # full for pieces of this size

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / "filler").unlink(missing_ok=True)


class Place:
    """Everything that lies on disk. Use as a context: small disks are mounted and unmounted.

    Args:
        trials: How many trials each campaign has.
        has_slurm: Whether site west is in front of Slurm.
        disk_bytes: The size of each of the two small disks: of site east and of the campaigns.
    """

    def __init__(self, trials: int, *, has_slurm: bool, disk_bytes: int) -> None:
        self._trials, self._has_slurm, self._disk_bytes = trials, has_slurm, disk_bytes
        self.folder = Path(tempfile.mkdtemp(prefix="rk-chaos-"))  # short: Slurm has a socket in it
        self.folder.chmod(0o755)
        self.ports = dict(zip((*SITES, *(f"{site}-line" for site in SITES)), _free_ports(2 * len(SITES)), strict=True))
        self.keys = {name: Key.generate(name) for name in (*PARTIES, *PARTIES.values())}
        self.home = self.folder / "campaigns-disk" / "home"
        self.data = {"east": self.folder / "east-disk" / "data", "west": self.folder / "data-west"}
        self.disks: dict[str, Disk] = {}
        self._mounted: list[Path] = []

    def __enter__(self) -> "Place":
        for name in ("east", "campaigns"):
            path = self.folder / f"{name}-disk"
            path.mkdir()
            if self._mount(path):
                self.disks[name] = Disk(path)
        (self.folder / "keys").mkdir()
        for name, key in self.keys.items():
            key.save(self.folder / "keys" / f"{name}.key")
        (self.folder / "lab.py").write_text(LAB)
        (self.folder / "measure.sh").write_text(MEASURE)
        (self.folder / "measure.sh").chmod(0o755)
        self._write_agreement()
        self._write_sites()
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._mounted:
            kept = path.with_name(f"{path.name}-kept")
            shutil.copytree(path, kept, dirs_exist_ok=True)  # the evidence outlives the disk
            subprocess.run(["umount", str(path)], timeout=30, check=False)
            if not path.is_mount():
                path.rmdir()
                kept.rename(path)

    def _mount(self, path: Path) -> bool:
        argv = ["mount", "-t", "tmpfs", "-o", f"size={self._disk_bytes}", "tmpfs", str(path)]
        if os.getuid() != 0 or subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode:
            return False
        self._mounted.append(path)
        return True

    def _write_agreement(self) -> None:
        text = new_agreement_text(
            "chaos",
            starts=date(2026, 1, 1),
            ends=date(2099, 12, 31),
            parties={party: Party(name=party, key=self.keys[party].public.text) for party in PARTIES.values()},
            institutions={
                lab: Institution(name=lab, party=party, key=self.keys[lab].public.text)
                for lab, party in PARTIES.items()
            },
            sites={
                site: AgreementSite(institution=lab, url=f"http://127.0.0.1:{self.ports[f'{site}-line']}")
                for site, lab in SITES.items()
            },
            teams={team: Team(name=team, institutions=tuple(PARTIES)) for team in TEAMS},
            rules=[Rule("open", "allow")],
        )
        path = self.folder / "agreement.toml"
        path.write_text(text)
        for party in PARTIES.values():
            endorse(self.keys[party], parse_agreement(text), path)

    def _write_sites(self) -> None:
        engines = {"east": LOCAL, "west": SLURM if self._has_slurm else LOCAL}
        offers = {"east": ("procedures", 'use = "lab.py"', ""), "west": ("commands", COMMAND, COMMAND_TABLES)}
        for name, institution in SITES.items():
            kind, offer, outputs = offers[name]
            text = SITE.format(
                name=name, institution=institution, data=self.data[name], executor=engines[name],
                port=self.ports[name], kind=kind, offer=offer, outputs=outputs, per_hour=PER_HOUR,
                tight=60 if name == "east" else 1_000_000,
            )  # fmt: skip
            (self.folder / f"{name}.toml").write_text(text)

    def write_campaign(self, n: int) -> str:
        """Write the file of the n-th campaign; return its name."""
        name = f"search-{n:03d}"
        text = CAMPAIGN.format(name=name, team=TEAMS[n % 3 == 2], seed=n, trials=self._trials)
        (self.folder / f"{name}.toml").write_text(text)
        return name

    def ledger(self, who: str) -> Path:
        """Return where the ledger of a site or of a campaign lies."""
        if who in SITES:
            return self.data[who] / "ledger.db"
        return self.home / "campaigns" / who / "ledger.db"

    def campaigns(self) -> list[str]:
        """Return the names of the campaigns that were begun, in order."""
        return sorted(path.parent.name for path in (self.home / "campaigns").glob("*/ledger.db"))


def _free_ports(n: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
