"""The report tells the facts, loads nothing, runs nothing, and lets no name become markup."""

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from homes import INSTITUTIONS

from renkei.campaign import RunRow, TrialRow
from renkei.home._home import Home
from renkei.model.records import RunEnded, RunRequested, read_record, write_record
from renkei.report import CampaignView, audit_campaign, measure_acceleration, render_report, write_report
from renkei.report._history import Run


class Page(HTMLParser):
    """What a browser would see: tags with attributes, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def text(view: CampaignView) -> str:
    return render_report(view, measure_acceleration(view), audit_campaign(view), 1_800_000_000.0)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_it_is_written_beside_the_campaign_in_one_step(copy: Home) -> None:
    path = write_report(copy, "hard-alloy")
    assert path == copy.campaign_directory("hard-alloy") / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert write_report(copy, "hard-alloy") == path
    assert not list(path.parent.glob("*.part"))


def test_it_loads_nothing_from_anywhere(text: str, page: Page) -> None:
    assert not re.search(r"https?://|url\((?!#)", text)
    assert "default-src 'none'" in text
    for tag, name, value in page.attributes:
        if name in ("href", "src", "xlink:href", "action", "data", "srcset", "poster"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value[:80])


def test_it_runs_nothing_and_names_do_not_become_markup(text: str, page: Page) -> None:
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "u" not in page.tags  # in a choice
    assert page.tags.count("i") == len(re.findall(r'<i class="[a-z]+"', text))  # <i> stands in a parameter's name
    assert "<script>alert('title')</script>" in page.text
    assert "temp <i>T</i> [°C]" in page.text
    assert "<u>真空</u>" in page.text


def test_names_in_either_script_stand_there(page: Page) -> None:
    assert "硬い合金" in page.text
    assert "Materials 材料" in page.text
    for _, name in INSTITUTIONS.values():
        assert name in page.text


def test_the_facts_stand_there(view: CampaignView, page: Page) -> None:
    assert view.best is not None
    assert f"{view.best.outputs['hardness']:,.0f} MPa" in page.text
    assert "hardness ≥ 8,900 MPa" in page.text
    assert "density ≤ 8,700 kg/m³" in page.text
    assert "Open research is what this agreement is for." in page.text
    assert 'name = "hard-alloy"' in page.text  # the definition
    for audit in audit_campaign(view):
        assert audit.root in page.text
        assert f"{audit.owner}" in page.text
    assert "renkei ledger verify campaigns/hard-alloy/ledger.db --agreement agreement.toml" in page.text
    for site in view.sites:
        for state, n in site.outcomes.items():
            assert f"{n} {state}" in page.text


def test_every_id_is_there_once(page: Page) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for _, name, value in page.attributes if name == "xlink:href" and value.startswith("#")}
    assert used <= set(ids)


def test_figures_follow_the_theme_of_the_page(text: str) -> None:
    assert text.count('<svg class="figure"') == 4
    assert "var(--campaign, #0b5d8f)" in text
    defined = set(re.findall(r"--([a-z]+):", text))
    assert set(re.findall(r"var\(--([a-z]+)", text)) <= defined


def test_findings_are_told(copy: Home) -> None:
    path = copy.site_ledger("jp-lab")
    content = path.read_bytes()
    at = content.index(b'"outcome":"succeeded"')
    path.write_bytes(content[:at] + b"X" + content[at + 1 :])
    page = Page(write_report(copy, "hard-alloy").read_text(encoding="utf-8"))
    assert "Findings" in page.text
    assert "does not match its hash" in page.text
    assert "not sound" in page.text


def test_a_campaign_without_trials_has_a_report(view: CampaignView) -> None:
    empty = replace(
        view,
        history=replace(view.history, trials=(), runs={}, driven_s={}, seen=(), notes={}),
        baselines=(),
        sites=(),
        definition=replace(view.definition, baseline=None),
    )
    page = Page(render_report(empty, measure_acceleration(empty), [], 0.0))
    assert "none has given outputs that hold every constraint" in page.text
    assert "No baseline was run, so nothing is said" in page.text


def test_ten_thousand_trials_stay_small_and_quick(view: CampaignView) -> None:
    big = _many(view, 10_000)
    acceleration = measure_acceleration(big)
    began = time.perf_counter()
    text = render_report(big, acceleration, [], 0.0)
    assert time.perf_counter() - began < 15.0
    assert len(text.encode()) < 5_000_000
    page = Page(text)
    assert "The best 400 of 10,000 trials" in page.text
    assert "The other 9,600 are in the campaign's ledger" in page.text


def _many(view: CampaignView, n: int) -> CampaignView:
    """Return the view with `n` trials, each with a run, of which every tenth is infeasible."""
    trials: list[TrialRow] = []
    runs: dict[str, Run] = {}
    driven_s: dict[str, float] = {}
    start = view.status.opened_at
    for i in range(n):
        trial, run, at = f"t{i}", f"r{i}", start + i * 0.01
        x = i * 0.618 % 1.0
        point = {"temp <i>T</i>": 100 + 1100 * x, "copper": i * 0.414 % 1.0, "furnace": ("argon", "vacuum")[i % 2]}
        state = "infeasible" if i % 10 == 0 else "observed"
        outputs = {} if state == "infeasible" else {"hardness": 9000 * x, "density": 8000.0}
        trials.append(TrialRow(trial, i, point, at, state, [run], run, outputs, at + 1, ""))
        outcome = "infeasible" if state == "infeasible" else "succeeded"
        site = ("us-lab", "jp-lab")[i % 2]
        row = RunRow(run, trial, site, "materials.anneal", at, outcome, 500_000, "instrument-hour", 0, 0.5, at + 1)
        ended = RunEnded(run, outcome, "materials", 500_000, 500_000, "instrument-hour", 0.0, 0.5, outputs)
        record = read_record(write_record(i, at + 1, ended))
        runs[run] = Run(row, RunRequested(run, trial, site, row.procedure, "1.2", {}), (record,))
        driven_s[trial] = i * 0.01
    sites = tuple(
        replace(site, runs=tuple(run for run in runs.values() if run.row.site == site.name)) for site in view.sites
    )
    return replace(view, history=replace(view.history, trials=tuple(trials), runs=runs, driven_s=driven_s), sites=sites)


def test_what_it_cannot_relate_to_the_home_is_told_by_its_whole_path(view: CampaignView, tmp_path: Path) -> None:
    from renkei.report._html import relative

    assert relative(view, view.history.path) == "campaigns/hard-alloy/ledger.db"
    assert relative(view, tmp_path / "ledger.db") == str(tmp_path / "ledger.db")
    assert relative(view, None) == ""
