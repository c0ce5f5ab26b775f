"""The tables and drawings of a report: decisions of rules and of people, charges, sites, trade-offs."""

import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from homes import CAMPAIGN, joint_home

from renkei.errors import UsageError
from renkei.home._session import Session
from renkei.model.campaign_file import parse_campaign
from renkei.model.quantity import MICRO
from renkei.model.rule import Rule
from renkei.model.space import Objective
from renkei.planning.pareto import Yardstick, pareto_front
from renkei.report import (
    CampaignView,
    audit_campaign,
    measure_acceleration,
    summarize,
    view_campaign,
    write_crate,
    write_report,
)
from renkei.report import _figure_sites as sites
from renkei.report import _words as words
from renkei.report._figure_space import draw_space
from renkei.report._figures import draw_progress, draw_trade_offs
from renkei.report._tables import (
    acceleration_lines,
    best_lines,
    charge_lines,
    decision_lines,
    site_lines,
    trial_table,
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory):
    """A home whose one site had a person decide about every run: two were approved, the others denied."""
    folder = tmp_path_factory.mktemp("asked")
    home = joint_home(folder, rules=(Rule("by-hand", "ask", sites=("us-lab",), reason="The furnace is old."),))
    text = CAMPAIGN[: CAMPAIGN.index("[baseline]")].replace("trials = 12", "trials = 4")
    text = text.replace('procedure = "materials.anneal"', 'procedure = "materials.anneal"\nsites = ["us-lab"]')

    async def main() -> None:
        file = parse_campaign(text.encode(), folder=folder).resolved()
        session = Session(home)
        with home.locked():
            async with session.opened(["us-lab"]):
                site = session.sites["us-lab"]
                drive = await session.begin(file, folder)

                async def decide() -> None:
                    n = 0
                    while True:
                        for run in list(site.runs.parked):
                            await site.decide(run, "Aiko <Sato>", n < 2, "as agreed" if n < 2 else "")
                            n += 1
                        await anyio.sleep(0.01)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(decide)
                    await session.drive(drive)
                    tasks.cancel_scope.cancel()

    anyio.run(main)
    return home


def test_what_people_decided_is_told_with_their_reasons(asked) -> None:
    lines = {line.what: line for line in decision_lines(view_campaign(asked, "hard-alloy"))}
    assert set(lines) == {"held for a person to decide", "accepted", "refused (denied)"}
    assert len(lines["held for a person to decide"].runs) == 4
    assert [reason.text for reason in lines["accepted"].reasons] == ["approved by Aiko <Sato>: as agreed"]
    assert [reason.id for reason in lines["refused (denied)"].reasons] == ["person.denied"]
    assert len(lines["accepted"].runs) == len(lines["refused (denied)"].runs) == 2


def test_a_campaign_with_refusals_adds_up_and_is_sound(asked) -> None:
    said = summarize(asked, "hard-alloy")
    assert (said["runs"]["requested"], said["runs"]["accepted"], said["runs"]["refused"]) == (4, 2, 2)
    assert said["trials"]["abandoned"] == 2
    assert all(audit.verified for audit in audit_campaign(view_campaign(asked, "hard-alloy")))


def test_charges_stand_against_the_allocation(view: CampaignView) -> None:
    lines = {line.site: line for line in charge_lines(view)}
    for site in view.sites:
        balance = site.balances[0]
        line = lines[site.name]
        assert (line.unit, line.granted) == ("instrument-hour", "100")
        assert float(line.spent) * MICRO == balance.spent
        assert float(line.campaign) + float(line.baselines) == float(line.spent)
        assert line.share == pytest.approx(100 * balance.spent / -balance.granted)


def test_an_allocation_without_limit_is_called_so(view: CampaignView) -> None:
    first, *rest = view.sites
    boundless = replace(first, balances=tuple(_granted(row, 10**9 * MICRO) for row in first.balances))
    line = charge_lines(replace(view, sites=(boundless, *rest)))[0]
    assert (line.granted, line.available, line.share) == ("no limit", words.NONE, None)


def _granted(row, micro: int):
    import msgspec

    return msgspec.structs.replace(row, granted=-micro)


def test_sites_are_told_with_their_parties(view: CampaignView) -> None:
    lines = {line.site: line for line in site_lines(view)}
    assert lines["jp-lab"].party == "日本国 (Japan)"
    assert sum(line.n_runs for line in lines.values()) == len(view.runs)
    for line in lines.values():
        assert sum(share for *_, share in line.outcomes) == pytest.approx(100.0)


def test_the_table_of_trials_has_units_in_its_head(view: CampaignView) -> None:
    table = trial_table(view)
    assert table.head[:3] == ["trial", "fate", "temp <i>T</i> [°C]"]
    assert "hardness [MPa]" in table.head
    assert len(table.rows) == len(view.trials)
    assert all(len(row) == len(table.head) for row in table.rows)
    assert table.n_left_out == 0
    assert "source" not in table.head


def test_the_table_of_trials_says_where_each_was_tried_if_the_planner_chose_that(view: CampaignView) -> None:
    first, *rest = (copy.copy(row) for row in view.trials)
    first.source = "quick-model"
    table = trial_table(replace(view, history=replace(view.history, trials=(first, *rest))))
    assert table.head[:3] == ["trial", "fate", "source"]
    assert [row[2] for row in table.rows] == ["quick-model"] + [""] * len(rest)


def test_the_best_trial_says_what_is_asked_of_its_outputs(view: CampaignView) -> None:
    _, outputs = best_lines(view)
    asked_of = {name: text for name, _, text in outputs}
    assert asked_of == {"hardness": "goal: hardness ≥ 8,900 MPa", "density": "constraint: density ≤ 8,700 kg/m³"}


def test_acceleration_has_a_line_for_each_measure(view: CampaignView) -> None:
    lines = acceleration_lines(measure_acceleration(view))
    assert [line["measure"] for line in lines] == ["trials", "wall time", "cost"]
    assert all(line["sentence"] for line in lines)


def test_runs_at_the_same_time_are_in_different_lanes(view: CampaignView) -> None:
    site = max(view.sites, key=lambda site: len(site.runs))
    bars = sites.lanes(site, view.status.opened_at)
    assert len(bars) == sum(run.worked is not None for run in (*site.runs, *site.baseline_runs))
    for lane in {bar[0] for bar in bars}:
        ends = sorted((begin, end) for at, begin, end, _ in bars if at == lane)
        assert all(first[1] <= second[0] + 1e-6 for first, second in pairwise(ends))


def two_goals(view: CampaignView) -> CampaignView:
    goals = (view.definition.objectives[0], Objective("density", reach=8000.0, unit="kg/m**3"))
    definition = replace(view.definition, objectives=goals, constraints=())
    return replace(view, definition=definition, yardstick=Yardstick(goals, (), [row.outputs for row in view.trials]))


def test_trade_offs_are_drawn_with_several_objectives_only(view: CampaignView) -> None:
    assert draw_trade_offs(view) == ""
    both = two_goals(view)
    n = len(pareto_front([r.outputs for r in both.trials if r.outputs], both.definition.objectives))
    svg = draw_trade_offs(both)
    assert f'aria-label="Pareto front of {n} trials"' in svg
    assert "density [kg/m³]" in svg
    assert "distance from all goals" in draw_progress(both, measure_acceleration(both))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_space_is_drawn_whatever_its_number_of_parameters(view: CampaignView, n: int) -> None:
    space = replace(view.definition.space, parameters=view.definition.space.parameters[:n])
    svg = draw_space(replace(view, definition=replace(view.definition, space=space)))
    assert "temp &lt;i&gt;T" in svg
    assert ("furnace" in svg) is (n == 3)
    assert "best trial" in svg or n == 1


def test_what_has_no_trials_is_not_drawn(view: CampaignView) -> None:
    empty = replace(view, history=replace(view.history, trials=(), driven_s={}), sites=())
    assert draw_space(empty) == sites.draw_sites(empty) == ""


@pytest.mark.parametrize("write", [write_report, write_crate])
def test_a_package_that_is_not_installed_is_told_with_its_remedy(joint, monkeypatch, write) -> None:
    monkeypatch.setattr("renkei.report._optional.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'renkei\[report\]'"):
        write(joint, "hard-alloy")


def test_where_a_site_is_reached_stands_in_the_crate(tmp_path: Path, view: CampaignView) -> None:
    from renkei.report._crate_runs import url_of

    assert view.agreement is not None
    known = dict(view.agreement.sites)
    known["us-lab"] = known["us-lab"].model_copy(update={"url": "https://us-lab.example/renkei"})
    agreement = replace(view.agreement, sites=known)
    assert url_of(replace(view, agreement=agreement), "us-lab") == "https://us-lab.example/renkei"
    assert url_of(view, "us-lab") == ""
