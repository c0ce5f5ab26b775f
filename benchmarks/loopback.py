"""What benchmarks share: a site that is served on loopback, campaigns of no-op trials, and times out of a ledger."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path

from renkei.ledger import LedgerReader
from renkei.model.agreement import AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import new_agreement_text
from renkei.model.campaign import Campaign
from renkei.model.campaign_file import parse_campaign
from renkei.model.rule import Rule
from renkei.trust.endorsement import endorse
from renkei.trust.keys import Key

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
"""

CAMPAIGN = """
[campaign]
name = "{name}"
{team}
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


def prepare(folder: Path, offers: str) -> int:
    """Write the files of site "there", and of the agreement that it works under with team "bench".

    Args:
        folder: Where: an empty folder.
        offers: What else the site's file says: what is on offer, and to whom.

    Returns:
        The port that the site will listen at.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    party, lab = Key.generate("here"), Key.generate("lab")
    (folder / "keys").mkdir()
    lab.save(folder / "keys" / "lab.key")
    text = new_agreement_text(
        "bench",
        starts=date(2026, 1, 1),
        ends=date(2099, 12, 31),
        parties={"here": Party(name="Here", key=party.public.text)},
        institutions={"lab": Institution(name="Lab", party="here", key=lab.public.text)},
        sites={"there": AgreementSite(institution="lab", url=f"http://127.0.0.1:{port}")},
        teams={"bench": Team(name="Bench", institutions=("lab",))},
        rules=[Rule("open", "allow")],
    )
    path = folder / "agreement.toml"
    path.write_text(text)
    endorse(party, parse_agreement(text), path)
    (folder / "site.toml").write_text(SITE.format(port=port) + offers)
    return port


@contextmanager
def served(folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """Serve the site of a folder by a process of its own until the end of the block."""
    argv = [sys.executable, "-m", "renkei", "site", "serve", str(folder / "site.toml")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as site:
        try:
            assert site.stdout is not None
            assert site.stdout.readline().startswith(b"ready ")
            yield site
            site.terminate()
            site.wait(30)
        finally:
            if site.poll() is None:
                os.killpg(site.pid, signal.SIGKILL)


def campaign(name: str, trials: int, parallel: int, *, team: str = "", sites: str = "") -> Campaign:
    """Return a campaign of no-op trials.

    Args:
        name: Its name.
        trials: How many.
        parallel: How many at the same time.
        team: Its team; "" under an agreement of the home's own.
        sites: Tables of embedded sites.
    """
    line = f'team = "{team}"' if team else ""
    return parse_campaign(CAMPAIGN.format(name=name, trials=trials, parallel=parallel, team=line) + sites)


def gaps_ms(ledger: Path) -> list[float]:
    """Return the milliseconds from one trial's end to the next one's, as a campaign's ledger has them."""
    with LedgerReader(ledger) as reader:
        ends = [record.at for record in reader.records() if record.kind == "trial.observed"]
    return [1e3 * (b - a) for a, b in pairwise(ends)]
