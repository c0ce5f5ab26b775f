"""The agreement of the small scenario, and the version to which a third nation accedes."""

import tempfile
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from renkei.model.agreement import Agreement, AgreementSite, Institution, Party, Team, parse_agreement
from renkei.model.agreement_text import OPEN_RESEARCH, amended_text, new_agreement_text
from renkei.sim._keys import sim_key
from renkei.trust.endorsement import endorse, signatures_path

INSTITUTIONS = {"us-lab": "us", "jp-lab": "jp", "jp-center": "jp"}
"""By institution, whose it is; each has a site of its name."""
ACCEDING = "kr-lab"
"""The institution, of a third nation, that may accede, with a site and as a member of a team."""
TEAMS = {"fusion": ("us-lab", "jp-lab"), "quantum": ("jp-center", "us-lab")}

_FILE = "agreement.toml"


@dataclass(frozen=True)
class Signed:
    """A version of the agreement as it lies at a site: its file, and its signatures beside it."""

    text: bytes
    signatures: bytes

    @property
    def agreement(self) -> Agreement:
        """What it says."""
        return _parsed(self.text)

    def put(self, folder: Path) -> Path:
        """Write it into the folder of a site in place of what lies there; return the path of its file."""
        path = folder / _FILE
        folder.mkdir(exist_ok=True)
        signatures_path(path).write_bytes(self.signatures)
        path.write_bytes(self.text)
        return path


def agreement_at(folder: Path) -> Agreement:
    """Return the agreement that lies at a site."""
    return _parsed((folder / _FILE).read_bytes())


@lru_cache(maxsize=1)
def original() -> Signed:
    """Return the version that everything begins with, of two nations."""
    text = new_agreement_text(
        "small",
        starts=date(2026, 1, 1),
        ends=date(2030, 12, 31),
        parties={name: Party(name=name, key=sim_key(name).public.text) for name in ("us", "jp")},
        institutions={
            name: Institution(name=name, party=party, key=sim_key(name).public.text)
            for name, party in INSTITUTIONS.items()
        },
        teams={name: Team(name=name, institutions=members) for name, members in TEAMS.items()},
        sites={name: AgreementSite(institution=name) for name in INSTITUTIONS},
        rules=(OPEN_RESEARCH,),
    )
    return _signed(_parsed(text.encode()))


@lru_cache(maxsize=1)
def amended() -> Signed:
    """Return the version to which a third nation accedes, with an institution, a site and a place in a team."""
    before = original().agreement
    text = amended_text(
        before,
        parties={"kr": Party(name="kr", key=sim_key("kr").public.text)},
        institutions={ACCEDING: Institution(name=ACCEDING, party="kr", key=sim_key(ACCEDING).public.text)},
        sites={ACCEDING: AgreementSite(institution=ACCEDING)},
        teams={"fusion": Team(name="fusion", institutions=(*TEAMS["fusion"], ACCEDING))},
    )
    return _signed(_parsed(text.encode()), before)


@lru_cache(maxsize=8)
def _parsed(text: bytes) -> Agreement:
    return parse_agreement(text)


def _signed(agreement: Agreement, previous: Agreement | None = None) -> Signed:
    """Return an agreement with the signatures of all its parties."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _FILE
        for party in agreement.parties:
            endorse(sim_key(party), agreement, path, previous=previous)
        return Signed(agreement.source, signatures_path(path).read_bytes())
