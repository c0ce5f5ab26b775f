"""Makes the home of the demonstration: keys, a signed agreement, and the files of five sites.

The institutions are illustrative: the public announcement of the partnership names neither the teams nor most of the
institutions.
"""

from datetime import date
from importlib.resources import files

from renkei.home import Home
from renkei.model.agreement import AgreementSite, Contribution, Institution, Party, Team
from renkei.model.agreement_text import new_agreement_text
from renkei.model.campaign import Campaign
from renkei.model.campaign_file import parse_campaign
from renkei.model.quantity import Quantity
from renkei.model.rule import Rule

CAMPAIGNS = ("fusion.toml", "materials.toml", "quantum.toml")

_PARTIES = {"us": "United States", "jp": "日本 Japan"}
_INSTITUTIONS = {
    "us-fusion-lab": ("us", "U.S. Fusion Laboratory (illustrative)"),
    "us-quantum-lab": ("us", "U.S. Quantum Laboratory (illustrative)"),
    "us-materials-lab": ("us", "U.S. Materials Laboratory (illustrative)"),
    "jp-fusion-institute": ("jp", "核融合研究機関 Japanese Fusion Institute (illustrative)"),
    "jp-robotic-lab": ("jp", "自律実験施設 Japanese Robotic Laboratory (illustrative)"),
    "jp-quantum-center": ("jp", "量子計算センター Japanese Quantum Center (illustrative)"),
}
_TEAMS = {
    "stellarator-design": ("Stellarator design", ("us-fusion-lab", "jp-fusion-institute"), "fusion.*"),
    "clean-energy-materials": ("Clean-energy materials", ("us-materials-lab", "jp-robotic-lab"), "autolab.*"),
    "fault-tolerant-memory": ("Fault-tolerant memory", ("us-quantum-lab", "jp-quantum-center"), "quantum.*"),
}
_SITES = {
    # site: module, team, what the team may use there, how a run is charged, longest run, policy
    "us-fusion-lab": ("fusion", "stellarator-design", "8 node-hour", "per_hour = 1.0", "60 s", ""),
    "jp-fusion-institute": ("fusion", "stellarator-design", "8 node-hour", "per_hour = 1.0", "60 s", "compact-devices"),
    "jp-robotic-lab": ("autolab", "clean-energy-materials", "1200 sample", "per_run = 1.0", "60 s", ""),
    "us-quantum-lab": ("quantum", "fault-tolerant-memory", "8 core-hour", "per_hour = 1.0", "60 s", ""),
    "jp-quantum-center": ("quantum", "fault-tolerant-memory", "8 core-hour", "per_hour = 1.0", "60 s", ""),
}


def build(home: Home) -> list[Campaign]:
    """Make the home and return its three campaigns. Keys are new every time and stay in the home.

    Raises:
        UsageError: A package of the demonstration is not installed; the hint says how to install it.
    """
    parties = {key: Party(name=name, key=home.key(key).public.text) for key, name in _PARTIES.items()}
    institutions = {
        key: Institution(name=name, party=party, key=home.key(key).public.text)
        for key, (party, name) in _INSTITUTIONS.items()
    }
    text = new_agreement_text(
        "us-jp-demonstration",
        title="Demonstration of the US-Japan partnership under the Genesis Mission (illustrative)",
        starts=date(2026, 6, 4),
        ends=date(2031, 6, 3),
        illustrative=True,
        parties=parties,
        institutions=institutions,
        sites={site: AgreementSite(institution=site) for site in _SITES},
        teams={team: Team(name=name, institutions=members) for team, (name, members, _) in _TEAMS.items()},
        contributions=[
            Contribution(site=site, team=team, quantity=Quantity.parse(quantity))
            for site, (_, team, quantity, *_rest) in _SITES.items()
        ],
        rules=[
            Rule(
                f"open-research-{team}", "allow", teams=(team,), procedures=(procedures,), purposes=("open-research",),
                reason=f"The partnership is for open research; {name} works on {procedures}.",
            )
            for team, (name, _, procedures) in _TEAMS.items()
        ],
    )  # fmt: skip
    home.put_agreement(text, [home.key(party) for party in _PARTIES])
    folder = home.path / "sites"
    folder.mkdir(exist_ok=True)
    for site, (module, team, quantity, charge, time_limit, policy) in _SITES.items():
        unit = quantity.split()[1]
        if policy:
            (folder / f"{policy}.cedar").write_text(_read(f"{policy}.cedar"))
        (folder / f"{site}.toml").write_text(
            f"""[site]
name = "{site}"
institution = "{site}"
key = "../keys/{site}.key"
agreement = "../agreement.toml"
data = "{site}"
{f'policy = "{policy}.cedar"' if policy else "# no policy of its own: it takes what the agreement allows"}

[executor]
workers = 1

[[procedures]]
use = "renkei.science.{module}"
charge = {{ unit = "{unit}", {charge} }}
time_limit = "{time_limit}"

[[allocations]]
team = "{team}"
quantity = "{quantity}"
"""
        )
    return [parse_campaign(_read(name), name).resolved() for name in CAMPAIGNS]


def _read(name: str) -> str:
    return files("renkei.demo").joinpath(name).read_text()
