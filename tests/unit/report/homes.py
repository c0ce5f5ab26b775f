"""Small real homes for tests of reports: two institutions of two nations, real sites, real campaigns."""

from datetime import date
from pathlib import Path

import anyio

from renkei.campaign import Campaign as Running
from renkei.campaign import TrialRow
from renkei.home._home import Home
from renkei.home._session import Session
from renkei.model.agreement import AgreementSite, Institution, Party, Team
from renkei.model.agreement_text import OPEN_RESEARCH, new_agreement_text
from renkei.model.campaign import Campaign
from renkei.model.campaign_file import parse_campaign
from renkei.model.rule import Rule

PROCEDURES = '''
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from renkei import Infeasible, Unit, current_run, procedure


@dataclass
class Alloy:
    hardness: Annotated[float, Unit("GPa")]
    density: Annotated[float, Unit("g/cm**3")]
    micrograph: Path


@procedure("materials.anneal", version="1.2")
def anneal(
    temperature: Annotated[float, Interval(ge=300, le=1500), Unit("K")],
    copper: Annotated[float, Interval(ge=0, le=1)],
    furnace: Literal["argon", "vacuum", "<u>真空</u>"] = "argon",
) -> Alloy:
    """Anneal a sample and measure it."""
    time.sleep(PAUSE_S * (1 + copper))
    if temperature > 1350 and copper > 0.7:
        raise Infeasible(f"the sample melted <b>at {temperature:.0f} K</b>")
    if 0.1 < copper < 0.13:
        raise RuntimeError("the furnace door <script>alert(1)</script> is stuck")
    run = current_run()
    file = run.directory / "micrograph.txt"
    file.write_text(f"{temperature:.3f} {copper:.3f}")
    hardness = 9 - ((temperature - 900) / 300) ** 2 - 12 * (copper - 0.4) ** 2 + (0.3 if furnace == "vacuum" else 0)
    return Alloy(hardness, 7.8 + copper, file)
'''

PARTIES = {"us": "United States of America", "jp": "日本国 (Japan)"}

INSTITUTIONS = {
    "us-lab": ("us", "Great Plains National Laboratory <b>&amp;</b>"),
    "jp-lab": ("jp", "湖畔材料研究所 (Lakeside Institute for Materials)"),
}

CAMPAIGN = """
[campaign]
name = "hard-alloy"
title = "Harder alloys 硬い合金 <script>alert('title')</script>"
team = "materials"
seed = 3
stop = { trials = 12 }

[space]
"temp <i>T</i>" = { type = "real", low = 100.0, high = 1200.0, unit = "degC" }
copper = { type = "real", low = 0.0, high = 1.0 }
furnace = { type = "choice", values = ["argon", "vacuum", "<u>真空</u>"] }

[[objective]]
output = "hardness"
goal = "maximize"
reach = 8900.0
unit = "MPa"

[[constraint]]
output = "density"
upper = 8700.0
unit = "kg/m**3"

[[source]]
procedure = "materials.anneal"
rename = { "temp <i>T</i>" = "temperature" }

[planner]
name = "sobol"
parallel = 3

[baseline]
planner = "random"
trials = 10
replicates = 2
"""

SITE = """
[site]
name = "{name}"
institution = "{name}"
key = "../keys/{name}.key"
agreement = "../agreement.toml"
data = "{name}"

[executor]
workers = 1
time_limit = "60 s"

[[procedures]]
use = "{code}"
charge = {{ unit = "{unit}", per_run = 0.5 }}

[[allocations]]
team = "materials"
quantity = "{allocation}"
"""


def joint_home(
    folder: Path, *, pause_s: float = 0.0, allocation: str = "100 instrument-hour", rules: tuple[Rule, ...] = ()
) -> Home:
    """Return a home with a signed agreement of two parties, their institutions' sites and one team."""
    home = Home(folder / "home")
    code = folder / "anneal.py"
    code.parent.mkdir(parents=True, exist_ok=True)
    code.write_text(PROCEDURES.replace("PAUSE_S", str(pause_s)))
    parties = {name: Party(name=full, key=home.key(name).public.text) for name, full in PARTIES.items()}
    text = new_agreement_text(
        "us-japan",
        starts=date(2026, 1, 1),
        ends=date(2099, 12, 31),
        parties=parties,
        institutions={
            name: Institution(name=full, party=party, key=home.key(name).public.text)
            for name, (party, full) in INSTITUTIONS.items()
        },
        sites={name: AgreementSite(institution=name) for name in INSTITUTIONS},
        teams={"materials": Team(name="Materials 材料", institutions=("us-lab", "jp-lab"))},
        rules=(OPEN_RESEARCH, *rules),
        illustrative=True,
    )
    home.put_agreement(text, [home.key(party) for party in PARTIES])
    (home.path / "sites").mkdir()
    for name in INSTITUTIONS:
        amount = allocation if name == "us-lab" else "100 instrument-hour"
        site = SITE.format(name=name, code=code, unit="instrument-hour", allocation=amount)
        (home.path / "sites" / f"{name}.toml").write_text(site)
    return home


def drive(home: Home, text: str, folder: Path) -> None:
    """Drive a campaign, with its baselines, to its end."""

    async def main() -> None:
        file = parse_campaign(text.encode(), folder=folder).resolved()
        session = Session(home)
        with home.locked():
            async with session.opened(list(home.sites())):
                await session.drive(await session.begin(file, folder))

    anyio.run(main)


SEARCH = """
[campaign]
name = "{name}"
stop = {{ trials = 100 }}
[space]
x = {{ type = "real", low = 0.0, high = 1.0 }}
[[objective]]
output = "y"
goal = "minimize"
{more}
[[source]]
procedure = "lab.measure"
[planner]
name = "random"
"""


def search(name: str = "search", more: str = "", space: str = "") -> Campaign:
    """Return a small campaign of one objective, without sites: what it observes is told by hand."""
    text = SEARCH.format(name=name, more=more)
    if space:
        text = text.replace('x = { type = "real", low = 0.0, high = 1.0 }', space)
    return parse_campaign(text).resolved()


def propose(campaign: Running) -> TrialRow:
    """Have the campaign's planner propose one trial."""
    return campaign.propose(campaign.question(1)())[0]
