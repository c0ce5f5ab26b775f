"""Whatever is wrong, a command says it in one sentence, exits with the right code and leaves no half state."""

import json
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_example import CAMPAIGN, Ended, Renkei, Result, finish, start, write_campaign

from renkei.home import Home


def told(said: Result, code: int, *parts: str) -> None:
    """Check that one error was told: its exit code, what it says, nothing on stdout and no traceback."""
    assert said.code == code, said.err
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err


WRONG_FILES: list[tuple[Callable[[str], str], int, str]] = [
    (lambda text: text.replace("[space]", "[space"), 2, "line 6, column"),
    (lambda text: text.replace('unit = "K"', 'unit = "Kelvinn"'), 2, "space.heat.unit"),
    (lambda text: text.replace("lab.cast", "lab.cost"), 2, "Did you mean 'lab.cast'?"),
    (lambda text: text.replace("heat = {", "# {"), 2, "space: "),
    (lambda text: text.replace("low = 300.0", "low = 100.0"), 2, "space.heat"),
    (lambda text: text.replace('"lab.py"', '"lob.py"'), 2, "lob.py cannot be imported"),
    (lambda text: text.replace('"sobol"', '"sobel"'), 2, "Did you mean 'sobol'?"),
    (lambda text: text.replace('"sobol"', '"sobol"\noptions = { speed = 9 }'), 2, "has no option 'speed'"),
    (lambda text: text[: text.index("[sites")], 2, "There is no site"),
    (lambda text: text.replace('[[source]]\nprocedure = "lab.cast"\n', ""), 2, "has no source"),
    (lambda text: text.replace("lab.cast", 'lab.cast"\nsites = ["kyoto"]\n#'), 2, "found 'kyoto'"),
]


@pytest.mark.parametrize(("change", "code", "part"), WRONG_FILES, ids=[part for _, _, part in WRONG_FILES])
def test_a_campaign_file_with_a_mistake_begins_nothing(
    renkei: Renkei, tmp_path: Path, change: Callable[[str], str], code: int, part: str
) -> None:
    file = write_campaign(tmp_path, change(CAMPAIGN))
    told(renkei("campaign", "run", file, "--home", tmp_path / "home"), code, part)
    assert Home(tmp_path / "home").campaigns() == []


def test_a_mistake_before_any_site_is_needed_leaves_not_even_a_home(renkei: Renkei, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, CAMPAIGN.replace("lab.cast", "lab.cost"))
    renkei("campaign", "run", file, "--home", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_file_that_is_not_there_is_named(renkei: Renkei, tmp_path: Path) -> None:
    told(renkei("campaign", "run", tmp_path / "nothing.toml"), 2, "nothing.toml")


@pytest.mark.parametrize("verb", ["show", "resume", "report", "export", "stop"])
def test_a_campaign_that_is_not_there_is_guessed(renkei: Renkei, ended: Ended, verb: str) -> None:
    told(renkei("campaign", verb, "cats", "--home", ended.home), 2, "Did you mean 'cast'?", "renkei campaign list")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "show", "01234567"),
        ("site", "show", "osako"),
        ("procedure", "show", "lab.cats"),
        ("run", "approve", "x"),
    ],
)
def test_a_name_that_is_not_there_is_told(renkei: Renkei, ended: Ended, words: tuple[str, ...]) -> None:
    told(renkei(*words, "--home", ended.home), 2, "List them with: ")


def test_a_campaign_is_not_begun_twice(renkei: Renkei, ended: Ended) -> None:
    said = renkei("campaign", "run", ended.home.parent / "campaign.toml", "--home", ended.home)
    told(said, 2, "exists already", "renkei campaign resume cast")


def test_a_home_that_cannot_be_written_is_told(renkei: Renkei, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told(renkei("campaign", "run", write_campaign(tmp_path), "--home", tmp_path / "file" / "home"), 2, "cannot be used")


def test_a_key_that_others_may_read_is_refused(renkei: Renkei, tmp_path: Path) -> None:
    file, home = write_campaign(tmp_path), Home(tmp_path / "home")
    home.key("osaka")
    (home.path / "keys/osaka.key").chmod(0o644)
    told(renkei("campaign", "run", file, "--home", home.path), 2, "mode 644", "chmod 600")
    assert home.campaigns() == []


def test_a_ledger_of_a_newer_version_is_not_read(renkei: Renkei, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute("CREATE TABLE record (seq)")
        db.execute(f"PRAGMA application_id = {0x72656E6B}")
        db.execute("PRAGMA user_version = 99")
    db.close()
    for verb in ("verify", "show"):
        told(renkei("ledger", verb, tmp_path / "ledger.db"), 1, "newer renkei", "Upgrade renkei")
    (tmp_path / "other.db").write_text("no ledger at all, and long enough to look at")
    told(renkei("ledger", "verify", tmp_path / "other.db"), 1, "cannot be read as a ledger")


def test_an_allocation_that_is_spent_refuses_every_run(renkei: Renkei, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, CAMPAIGN + 'allocation = "0 instrument-hour"\n')
    said = renkei("campaign", "run", file, "--home", tmp_path / "home", "--json")
    assert said.code == 3
    assert "0 instrument-hour left here" in said.records[0]["why"]
    assert "Traceback" not in said.err


def test_a_full_disk_stops_a_campaign_that_goes_on_once_there_is_space(renkei: Renkei, tmp_path: Path) -> None:
    write_campaign(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, hard))  # no file may become longer, as on a full disk
    try:
        process = start("campaign", "run", "campaign.toml", "--home", "home", cwd=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = finish(process)
    assert (said.code, "Traceback" in said.err) == (1, False), said.err
    assert "cannot be written" in said.err
    again = renkei("campaign", "resume", "cast", "--home", tmp_path / "home", "--json")
    assert (again.code, again.records[0]["state"]) == (0, "exhausted")


def test_variables_that_renkei_does_not_know_are_refused(renkei: Renkei, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENKEI_HOEM", "x")
    told(renkei("campaign", "list"), 2, "RENKEI_HOEM", "Did you mean 'RENKEI_HOME'?")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("campain", "list"), "Did you mean 'campaign'?"),
        (("campaign", "lst"), "Did you mean"),
        (("campaign", "list", "--hom", "x"), "--home"),
        (("campaign", "show"), "Missing argument 'NAME'"),
        (("run", "list", "--last", "many"), "valid integer"),
    ],
)
def test_words_that_renkei_does_not_know_are_told(renkei: Renkei, words: tuple[str, ...], part: str) -> None:
    told(renkei(*words), 2, part, "--help")


def test_an_error_is_one_json_object_on_stderr_where_json_is_asked_for(renkei: Renkei, ended: Ended) -> None:
    said = renkei("campaign", "show", "cats", "--home", ended.home, "--json")
    problem = json.loads(said.err)
    assert (said.code, said.out, problem["code"]) == (2, "", "usage")
    assert "cats" in problem["message"]


def test_a_bug_is_one_sentence_and_debug_shows_where(renkei: Renkei, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Home) -> list[str]:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Home, "campaigns", broken)
    told(renkei("campaign", "list"), 1, "ZeroDivisionError", "This is a bug", "--debug")
    said = renkei("campaign", "list", "--debug")
    assert (said.code, "Traceback" in said.err) == (1, True)


def test_a_package_that_is_missing_names_the_extra(renkei: Renkei, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Home) -> list[str]:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib.pyplot")

    monkeypatch.setattr(Home, "campaigns", broken)
    told(renkei("campaign", "list"), 2, "'matplotlib'", "pip install 'renkei[report]'")
