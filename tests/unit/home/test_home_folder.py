"""A home: one process at a time, keys that nobody else reads, an agreement that nobody alters, campaigns by name."""

import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from renkei.errors import AgreementError, ConfigError, Conflict, UsageError
from renkei.home import Home
from renkei.model.agreement import AgreementSite, Contribution, Institution, Party, Team
from renkei.model.agreement_text import OPEN_RESEARCH, new_agreement_text
from renkei.model.campaign import LocalSite
from renkei.model.campaign_file import parse_campaign
from renkei.model.quantity import Quantity
from renkei.model.rule import Rule
from renkei.model.site_file import Charge
from renkei.trust.endorsement import signatures_path

CAMPAIGN = """
[campaign]
name = "{name}"
team = "{team}"
stop = {{ trials = 6 }}
[space]
x = {{ type = "real", low = 0.0, high = 1.0 }}
[[objective]]
output = "value"
goal = "minimize"
[[source]]
procedure = "lab.measure"
[planner]
name = "random"
[sites.east]
procedures = "lab.py"
"""


def embedded(*names: str, **options: object) -> Mapping[str, LocalSite]:
    return {name: LocalSite(procedures=("lab.py",), **options) for name in names}  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_embedding_makes_keys_an_agreement_and_descriptions(home: Home) -> None:
    home.embed(embedded("east", "west"), "fusion")
    agreement = home.agreement()
    assert (agreement.name, agreement.version) == ("local", 1)
    assert agreement.teams["fusion"].institutions == ("east", "west")
    assert agreement.institution_of_site("west") == "west"
    assert home.sites() == ["east", "west"]
    file = home.site("east")
    assert (file.site.name, file.site.institution) == ("east", "east")
    assert agreement.institutions["east"].key == home.key("east").public.text
    assert [(a.team, str(a.quantity)) for a in file.allocations] == [("fusion", "1000000000 run")]
    for name in ("local", "east", "west"):
        mode = (home.path / "keys" / f"{name}.key").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


def test_embedding_the_same_again_changes_nothing(home: Home) -> None:
    home.embed(embedded("east"), "fusion")
    before = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    home.embed(embedded("east"), "fusion")
    assert {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()} == before


def test_more_sites_and_teams_extend_the_agreement_and_it_stays_signed(home: Home) -> None:
    home.embed(embedded("east"), "fusion")
    key = home.key("east").public.text
    home.embed(embedded("west"), "fusion")
    home.embed(embedded("east"), "quantum")
    agreement = home.agreement()
    assert agreement.version == 3
    assert {name: team.institutions for name, team in agreement.teams.items()} == {
        "fusion": ("east", "west"),
        "quantum": ("east",),
    }
    assert agreement.institutions["east"].key == key == home.key("east").public.text
    assert home.sites() == ["east", "west"]


def test_a_description_follows_the_campaign_file_and_keeps_what_others_may_use(home: Home) -> None:
    some, more = Quantity.parse("20 run"), Quantity.parse("7.5 run")
    home.embed(embedded("east", allocation=some), "fusion")
    home.embed(embedded("east", allocation=Quantity.parse("3 run"), workers=5), "quantum")
    file = home.site("east")
    assert file.executor.workers == 5
    assert [(a.team, str(a.quantity)) for a in file.allocations] == [("fusion", "20 run"), ("quantum", "3 run")]
    home.embed(embedded("east", allocation=more), "fusion")
    charged = Charge(unit="sample", per_run=2.0)
    home.embed(embedded("east", charge=charged), "quantum")
    assert {(a.team, str(a.quantity)) for a in home.site("east").allocations} == {
        ("fusion", "7.5 run"),
        ("quantum", "3 run"),
        ("quantum", "1000000000 sample"),
    }


def test_a_description_says_all_that_the_campaign_file_says(home: Home, tmp_path: Path) -> None:
    options = {
        "workers": 3,
        "charge": Charge(unit="node-hour", per_hour=1.25),
        "policy": tmp_path / "a policy.cedar",
        "time_limit_s": 90.5,
        "memory_bytes": 123_000_000,
        "allocation": Quantity.parse("2.5 node-hour"),
    }
    home.embed(embedded("east", **options), "fusion")
    file = home.site("east")
    (offer,) = file.procedures
    assert (file.executor.workers, file.executor.time_limit_s, file.executor.memory_bytes) == (3, 90.5, 123_000_000)
    assert (offer.charge.unit, offer.charge.per_hour, offer.charge.per_run) == ("node-hour", 1.25, None)
    assert file.site.policy == tmp_path / "a policy.cedar"
    assert file.site.data == home.path / "sites" / "east"
    assert [str(a.quantity) for a in file.allocations] == ["2.5 node-hour"]


def test_a_site_may_be_described_in_a_file_of_its_own(home: Home, tmp_path: Path) -> None:
    home.embed(embedded("east"), "fusion")
    mine = tmp_path / "mine.toml"
    mine.write_text((home.path / "sites" / "east.toml").read_text())
    home.embed({"east": LocalSite(site=mine)}, "fusion")
    assert home.site_path("east") == mine.resolve()
    home.embed(embedded("east"), "fusion")
    assert home.site_path("east") != mine.resolve()
    assert mine.exists()


def joint(home: Home, **sites: AgreementSite) -> None:
    parties = ("us", "jp")
    text = new_agreement_text(
        "us-japan",
        starts=date(2026, 1, 1),
        ends=date(2030, 1, 1),
        parties={name: Party(name=name, key=home.key(name).public.text) for name in parties},
        institutions={"east": Institution(name="East", party="us", key=home.key("east").public.text)},
        teams={"fusion": Team(name="Fusion", institutions=("east",))},
        sites={"east": AgreementSite(institution="east"), **sites},
    )
    home.put_agreement(text, [home.key(name) for name in parties])


def test_a_joint_agreement_is_not_touched(home: Home) -> None:
    joint(home)
    before = home.agreement_path.read_bytes()
    home.embed(embedded("east"), "fusion")  # all that it needs is there
    for sites, team in (("west", "fusion"), ("east", "quantum")):
        with pytest.raises(UsageError, match=r"The agreement of .* does not have") as refusal:
            home.embed(embedded(sites), team)
        assert "amended by its parties" in refusal.value.hint
    assert home.agreement_path.read_bytes() == before
    assert home.agreement().name == "us-japan"
    assert home.sites() == ["east"]


def test_what_people_wrote_into_the_local_agreement_stays_when_it_is_extended(home: Home) -> None:
    home.embed(embedded("east"), "fusion")
    known = home.agreement()
    quantity = Quantity.parse("3 run")
    text = new_agreement_text(
        "local",
        version=2,
        starts=date(2026, 5, 1),
        ends=date(2027, 4, 30),
        parties=known.parties,
        institutions=known.institutions,
        teams=known.teams,
        sites=known.sites,
        contributions=[Contribution(site="east", team="fusion", quantity=quantity)],
        rules=(OPEN_RESEARCH, Rule("no-export", "deny", purposes=("export",), reason="Nothing leaves.")),
    )
    home.put_agreement(text, [home.key("local")])
    mine = home.agreement()
    home.embed(embedded("west"), "fusion")
    extended = home.agreement()
    assert extended.version == 3
    assert extended.rules == mine.rules
    assert extended.contributions == mine.contributions
    assert (extended.starts, extended.ends) == (mine.starts, mine.ends)


def test_an_agreement_that_was_altered_is_not_in_force_and_is_not_signed_along_with_an_extension(home: Home) -> None:
    home.embed(embedded("east"), "fusion")
    text = home.agreement_path.read_text()
    home.agreement_path.write_text(text.replace('effect = "allow"', 'effect = "ask"'))
    with pytest.raises(AgreementError, match="not in force: local signed another version"):
        home.agreement()
    with pytest.raises(AgreementError, match="not in force"):
        home.embed(embedded("west"), "fusion")
    home.agreement_path.write_text(text)
    home.embed(embedded("west"), "fusion")
    assert set(home.agreement().sites) == {"east", "west"}


def test_an_agreement_without_signatures_is_not_in_force(home: Home) -> None:
    joint(home)
    signatures = signatures_path(home.agreement_path)
    one, two = signatures.read_bytes().splitlines()
    signatures.write_bytes(one + b"\n")
    with pytest.raises(AgreementError, match="not in force: jp has not signed"):
        home.agreement()
    signatures.unlink()
    with pytest.raises(AgreementError, match="us has not signed; jp has not signed"):
        home.agreement()
    assert two
    with pytest.raises(ConfigError, match=r"agreement\.toml"):
        Home(home.path / "elsewhere").agreement()


@pytest.mark.parametrize("where", ["_write", "endorse"])
@pytest.mark.parametrize("n_before", [0, 1])
def test_an_extension_that_a_kill_cut_short_is_finished_the_next_time(
    n_before: int, where: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures are written first: a kill between the two files leaves a home that goes on."""
    if n_before:
        home.embed(embedded("east"), "fusion")

    class KilledError(Exception):
        pass

    def kill(*arguments: object) -> None:
        if home.agreement_path in arguments:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(f"renkei.home._home.{where}", kill)
        with pytest.raises(KilledError):
            home.embed(embedded("east", "west"), "fusion")
    home.embed(embedded("east", "west"), "fusion")
    assert set(home.agreement().sites) == {"east", "west"}


def test_one_process_works_in_a_home_and_the_other_is_told_which(home: Home) -> None:
    script = (
        "import sys; from pathlib import Path; from renkei.home import Home\n"
        "with Home(Path(sys.argv[1])).locked(): print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin is not None
    assert other.stdout is not None
    with other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(Conflict, match=f"is in use by process {other.pid}") as refusal, home.locked():
            pass
        assert refusal.value.context["pid"] == str(other.pid)
        assert home.worker() in (other.pid, None)
        other.stdin.close()
        other.wait()
    with home.locked():
        assert (home.path / "lock").read_text() == str(os.getpid())
        with pytest.raises(Conflict), Home(home.path).locked():
            pass
    with home.locked():
        pass


def test_a_key_that_others_may_read_is_refused(home: Home) -> None:
    home.embed(embedded("east"), "fusion")
    path = home.path / "keys" / "east.key"
    path.chmod(0o644)
    with pytest.raises(UsageError, match="is open to group or others \\(mode 644\\)") as refusal:
        home.key("east")
    assert refusal.value.hint == f"Run: chmod 600 {path}"


def test_campaigns_are_kept_by_name_and_a_name_is_given_once(home: Home, tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text("")
    file = parse_campaign(CAMPAIGN.format(name="search", team="fusion").replace("6", "7"), folder=tmp_path)
    home.begin(file, tmp_path)
    assert home.campaigns() == ["search"]
    assert home.campaign("search").text == file.text
    assert home.campaign("search").sites["east"].procedures == file.sites["east"].procedures
    with pytest.raises(UsageError, match="'search' exists already in"):
        home.begin(file, tmp_path)
    with pytest.raises(UsageError, match=r"There is no campaign 'serch' in .* Did you mean 'search'"):
        home.campaign("serch")
    with pytest.raises(UsageError, match="There is no site 'east'"):
        home.site("east")
    home.forget("search")
    assert home.campaigns() == []
    home.begin(file, tmp_path)


def test_a_definition_is_kept_as_it_was_written_whatever_the_locale(home: Home, tmp_path: Path) -> None:
    text = CAMPAIGN.format(name="search", team="fusion").replace(
        'name = "search"', 'name = "search"\r\ntitle = "核融合"', 1
    )
    code = (
        "import sys; from pathlib import Path; from renkei.home import Home\n"
        "from renkei.model.campaign_file import parse_campaign\n"
        "file = parse_campaign(sys.stdin.buffer.read()); Home(Path(sys.argv[1])).begin(file, Path(sys.argv[1]))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folder = tmp_path / "other"
    subprocess.run([sys.executable, "-c", code, str(folder)], input=text.encode(), env=environment, check=True)
    assert Home(folder).campaign("search").text == text
