"""The crate is a valid Process Run Crate, checked offline, and holds what it says."""

import csv
import hashlib
import importlib.resources
import json
from pathlib import Path
from typing import Any

import pytest

from renkei.accounts import Books
from renkei.home._home import Home
from renkei.ledger import verify
from renkei.report import CampaignView, _crate_runs, view_campaign, write_crate, write_report
from renkei.site import Runs
from renkei.trust.keys import PublicKey


@pytest.fixture(scope="module")
def crate(joint: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    folder = tmp_path_factory.mktemp("crate") / "home"
    shutil.copytree(joint.path, folder)
    home = Home(folder)
    write_report(home, "hard-alloy")
    return write_crate(home, "hard-alloy")


@pytest.fixture(scope="module")
def graph(crate: Path) -> list[dict[str, Any]]:
    return json.loads((crate / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]


def of_type(graph: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [entity for entity in graph if entity["@type"] == kind]


@pytest.mark.filterwarnings("ignore")  # the validator's libraries warn of their own doings
def test_it_passes_the_validator_without_a_network(crate: Path, tmp_path: Path) -> None:
    import requests
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    context = importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
    asked: set[str] = set()

    class Contexts:
        """Answers for the one document that the validator wants from the net, from rocrate's own copy."""

        def get(self, url: str, **_: object) -> requests.Response:
            asked.add(url)
            response = requests.Response()
            response.status_code, response.url = 200, url
            response.headers["Content-Type"] = "application/ld+json"
            response._content = context
            return response

    settings = services.ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier="process-run-crate",
        requirement_severity=models.Severity.RECOMMENDED,
        offline=True,
        cache_path=tmp_path / "cache",
    )
    HttpRequester().session = Contexts()
    result = services.validate(settings)
    assert asked == {"https://w3id.org/ro/crate/1.1/context"}
    assert [issue.message for issue in result.get_issues(models.Severity.REQUIRED)] == []
    advice = {issue.message for issue in result.get_issues(models.Severity.RECOMMENDED)}
    assert advice <= {
        "The Application SHOULD have a url",  # one that no agreement tells
        "The SoftwareApplication id SHOULD be an absolute URI",
        "The organization SHOULD have a URL.",
        "The Action SHOULD have a result",  # what failed has none
    }


def test_every_file_that_it_names_is_there_with_its_digest(crate: Path, graph: list[dict[str, Any]]) -> None:
    files = of_type(graph, "File")
    names = {file["@id"] for file in files}
    assert {"campaign.toml", "report.html", "agreement.toml", "agreement.toml.sig", "trials.csv", "runs.csv"} <= names
    for file in files:
        content = (crate / file["@id"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["contentSize"] == str(len(content))
    there = {str(path.relative_to(crate)) for path in crate.rglob("*") if path.is_file()}
    assert there == names | {"ro-crate-metadata.json"}


def test_its_ledgers_verify_by_themselves(crate: Path, view: CampaignView) -> None:
    assert view.agreement is not None
    ledgers = sorted(path.name for path in (crate / "ledgers").iterdir())
    assert ledgers == [
        "campaign-hard-alloy.baseline-1.db",
        "campaign-hard-alloy.baseline-2.db",
        "campaign-hard-alloy.db",
        "site-jp-lab.db",
        "site-us-lab.db",
    ]
    key = PublicKey.parse(view.agreement.institutions["jp-lab"].key)
    found = verify(crate / "ledgers" / "site-jp-lab.db", key, [Runs(), Books()])
    assert found.is_sound
    assert found.records > 0


def test_each_run_that_ended_is_an_action(graph: list[dict[str, Any]], view: CampaignView) -> None:
    actions = {action["identifier"]: action for action in of_type(graph, "CreateAction")}
    by_id = {entity["@id"]: entity for entity in graph}
    assert set(actions) == {run.row.run for run in view.runs.values() if run.ended}
    for run in view.runs.values():
        action = actions[run.row.run]
        tool = by_id[action["instrument"]["@id"]]
        assert (tool["@type"], tool["name"], tool["softwareVersion"]) == (
            "SoftwareApplication", "materials.anneal", "1.2"
        )  # fmt: skip
        assert by_id[action["agent"]["@id"]]["identifier"] == run.row.site
        is_good = run.row.state == "succeeded"
        assert action["actionStatus"].endswith("CompletedActionStatus" if is_good else "FailedActionStatus")
        assert ("error" in action) is not is_good
        assert action["startTime"] <= action["endTime"]
    root = by_id["./"]
    assert {each["@id"] for each in root["mentions"]} == {action["@id"] for action in actions.values()}


def test_parameters_and_outputs_are_in_campaign_units(graph: list[dict[str, Any]], view: CampaignView) -> None:
    by_id = {entity["@id"]: entity for entity in graph}
    assert view.best is not None
    action = by_id[f"#run-{view.best.run}"]
    given = {by_id[each["@id"]]["name"]: by_id[each["@id"]] for each in action["object"]}
    assert {name: each["value"] for name, each in given.items()} == view.best.parameters
    assert given["temp <i>T</i>"]["unitText"] == "degC"
    came = [by_id[each["@id"]] for each in action["result"]]
    numbers = {each["name"]: (each["value"], each["unitText"]) for each in came if each["@type"] == "PropertyValue"}
    assert numbers["hardness"] == (view.best.outputs["hardness"], "MPa")
    assert [each["name"] for each in came if each["@type"] == "File"] == ["micrograph"]


def test_the_tables_have_every_trial_and_every_run(crate: Path, view: CampaignView) -> None:
    with open(crate / "trials.csv", newline="", encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) == sum(len(each.trials) for each in (view.history, *view.baselines))
    assert trials[0]["trial"] == view.trials[0].trial
    assert float(trials[0]["temp <i>T</i> [degC]"]) == view.trials[0].parameters["temp <i>T</i>"]
    with open(crate / "runs.csv", newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == sum(len(each.runs) for each in (view.history, *view.baselines))
    charged = sum(float(run["quantity"]) for run in runs if run["campaign"] == "hard-alloy")
    assert charged == sum(charge.value for site in view.sites for charge in site.charges)


def test_of_too_many_runs_those_of_the_best_trials_are_described(copy: Home, monkeypatch) -> None:
    monkeypatch.setattr(_crate_runs, "RUNS_MAX", 3)
    path = write_crate(copy, "hard-alloy")
    graph = json.loads((path / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    view = view_campaign(copy, "hard-alloy")
    best = {run for row in sorted(view.trials, key=view.rank)[:3] for run in row.runs}
    assert {action["identifier"] for action in of_type(graph, "CreateAction")} <= best
    root = next(entity for entity in graph if entity["@id"] == "./")
    assert "are in runs.csv and in the ledgers" in root["description"]


def test_datasets_that_are_large_or_gone_are_described_and_not_copied(copy: Home, monkeypatch) -> None:
    monkeypatch.setattr(_crate_runs, "DATASETS_MAX_BYTES", 20)
    path = write_crate(copy, "hard-alloy")
    graph = json.loads((path / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    assert len(list((path / "datasets").iterdir())) == 1
    absent = [entity for entity in graph if entity["@id"].startswith("#dataset-")]
    assert absent
    assert all("too large to be copied" in entity["description"] and entity["sha256"] for entity in absent)


def test_an_older_crate_is_replaced(copy: Home) -> None:
    path = write_crate(copy, "hard-alloy")
    (path / "old.txt").write_text("old")
    assert write_crate(copy, "hard-alloy") == path
    assert not (path / "old.txt").exists()
    assert {entry.name for entry in path.parent.iterdir()} >= {"crate", "campaign.toml", "ledger.db"}
    assert not list(path.parent.glob("renkei-crate-*"))
