"""A planner with several sources: what it learns of each, where it tries what, and what it refuses."""

# pyright: basic, reportPrivateUsage=false, reportUnusedImport=false, reportPrivateImportUsage=false

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import planning_models  # noqa: F401 - before anything that imports botorch
import pytest
import torch
from planning_examples import BRANIN_SPACE, HARTMANN_SPACE, LOW, Outputs, branin, hartmann, number

from renkei.errors import UsageError
from renkei.model.space import (
    SOURCE,
    Choice,
    Constraint,
    Integer,
    Objective,
    Observation,
    ParameterConstraint,
    Point,
    Real,
    Space,
)
from renkei.planning import Confirming, Source, create
from renkei.planning._source_model import _Density, fit_sources
from renkei.planning._source_surrogate import _scalings
from renkei.planning._sources import MultiSourcePlanner

LINE = Space((Real("x", 0.0, 1.0),))
CHEAP = Source("cheap", 1.0, counts=False)
DEAR = Source("dear", 20.0)
BOTH = (CHEAP, DEAR)
Trial = Callable[[Point], Outputs | None]


def bare(point: Point) -> Point:
    return {name: value for name, value in point.items() if name != SOURCE}


def tried(point: Point, cheap: Trial, dear: Trial) -> Observation:
    outputs = (cheap if point[SOURCE] == "cheap" else dear)(bare(point))
    return Observation(point, "infeasible") if outputs is None else Observation(point, outputs=outputs)


def play(
    planner: MultiSourcePlanner, cheap: Trial, dear: Trial, until: Callable[[list[Observation]], bool], most: int = 120
) -> list[Observation]:
    """Return the observations of a campaign, trial by trial, until it is over."""
    history: list[Observation] = []
    while len(history) < most and not until(history):
        [point] = planner.ask(1)
        history.append(tried(point, cheap, dear))
        planner.tell(history[-1:])
    return history


def n_dear(history: Sequence[Observation]) -> int:
    return sum(o.point[SOURCE] == "dear" for o in history)


def best_dear(history: Sequence[Observation]) -> float:
    return min((o.outputs["f"] for o in history if o.outputs and o.point[SOURCE] == "dear"), default=math.inf)


def wave(point: Point) -> Outputs:
    x = number(point, "x")
    return {"f": math.sin(9.0 * x) + (x - 0.4) ** 2}


def biased(point: Point) -> Outputs:
    x = number(point, "x")
    return {"f": 30.0 - 4.0 * wave(point)["f"] + 2.0 * x}


def apart(point: Point) -> Outputs:
    return {"f": math.cos(23.0 * number(point, "x")) * 3.0}


def told(cheap: Trial, dear: Trial, n_cheap: int, n_dear: int) -> MultiSourcePlanner:
    """Return a planner that was told of points spread over the line at both sources."""
    planner = MultiSourcePlanner(LINE, LOW, BOTH, initial=1)
    points: list[Point] = [{"x": (i + 0.5) / n_cheap, SOURCE: "cheap"} for i in range(n_cheap)]
    points += [{"x": i / (n_dear - 1), SOURCE: "dear"} for i in range(n_dear)]
    planner.tell([tried(point, cheap, dear) for point in points])
    return planner


# ---- the model ------------------------------------------------------------------------------------------------


def test_the_gradient_of_the_density_is_that_of_its_value() -> None:
    chance = np.random.default_rng(0)
    rows = torch.from_numpy(chance.random((20, 2)))
    at = torch.from_numpy(chance.integers(0, 3, 20))
    known = torch.full((20,), math.nan, dtype=torch.float64)
    known[4] = 0.01
    density = _Density(
        rows, at, torch.from_numpy(chance.standard_normal(20)), known, torch.arange(2), [True, False, False]
    )
    theta = density.start(0.7, 0.4) + chance.normal(0.0, 0.2, len(density.bounds))
    value, gradient = density(theta)
    assert math.isfinite(value)
    steps = 1e-6 * np.eye(len(theta))
    numeric = np.array([(density(theta + step)[0] - density(theta - step)[0]) / 2e-6 for step in steps])
    assert gradient == pytest.approx(numeric, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("cheap", "low", "high"), [(biased, -1.0, -0.8), (wave, 0.9, 1.0), (apart, -0.5, 0.5)])
def test_it_learns_how_far_a_source_goes_with_the_truth(cheap: Trial, low: float, high: float) -> None:
    planner = told(cheap, wave, 14, 9)
    [trust, of_truth] = planner._surrogate().trust()
    assert low <= trust <= high
    assert of_truth == 1.0


def test_a_source_that_goes_with_the_truth_says_what_it_is_elsewhere() -> None:
    """The instrument tried five points only; the simulation, biased and turned round, knows the rest."""
    surrogate = told(biased, wave, 16, 5)._surrogate()
    xs = np.linspace(0.05, 0.95, 19)
    belief = surrogate.belief()(torch.from_numpy(xs).reshape(-1, 1, 1)).detach().numpy()
    truth = np.array([-wave({"x": x})["f"] for x in xs.tolist()])
    assert np.corrcoef(belief, truth)[0, 1] > 0.97


def test_imagining_what_may_come_moves_no_mean_on_average_and_takes_uncertainty_away() -> None:
    chance = np.random.default_rng(1)
    rows, at = torch.from_numpy(chance.random((12, 1))), torch.tensor([0] * 4 + [1] * 8)
    values = torch.sin(6.0 * rows.squeeze(-1))
    known = torch.full((12,), math.nan, dtype=torch.float64)
    process, _ = fit_sources(rows, at, values, known, torch.ones_like(values), torch.arange(1), [True, False])
    where = torch.tensor([[0.5]], dtype=torch.float64)
    chances = torch.tensor([[0.7, -0.7]], dtype=torch.float64)
    imagining = process.imagining(where, torch.tensor([1]), chances)
    before, after = process.foresight(where, 1), imagining.foresight(where, 1)
    assert after[0].shape == (2, 1)
    assert after[0].mean().item() == pytest.approx(before[0].item(), abs=1e-6)
    moved = (after[0][0] - after[0][1]).item() / 1.4  # what foresight said of it
    assert moved == pytest.approx(before[2].item(), rel=1e-3)
    assert after[1].item() < before[1].item()
    assert after[2].item() < 0.8 * before[2].item()


def test_what_is_on_its_way_may_disappoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Averaged over what the pending trial may give, another is worth more than if the first gave what is expected."""
    surrogate = told(wave, wave, 9, 4)._surrogate()
    torch.manual_seed(0)
    where = torch.linspace(0.05, 0.95, 19, dtype=torch.float64).reshape(-1, 1, 1)
    pending, at = np.array([[0.5]]), [1]
    drawn = surrogate.acquisitions(pending, at)[1](where)
    monkeypatch.setattr(torch, "randn", torch.zeros)
    expected = surrogate.acquisitions(pending, at)[1](where)
    assert (drawn > expected - 1e-9).all()
    assert (drawn - expected).max() > 0.05


def test_sources_that_are_right_may_share_a_scale() -> None:
    """The dear source was tried near its best points alone: by itself it would have another spread and another mean."""
    spread, near = np.linspace(-3.0, 5.0, 9), np.linspace(-3.0, -2.5, 4)
    tried_in = [list(s) for s in _scalings([spread, near], [False, True], may_log=True)]
    assert [len(set(scales)) for scales in tried_in] == [2, 1]
    [both, _] = tried_in[1]
    assert both.scaled(np.concatenate([spread, near])).std() == pytest.approx(1.0)


# ---- several at a time ------------------------------------------------------------------------------------------


def test_no_more_trials_are_on_their_way_at_a_source_than_may_be() -> None:
    planner = MultiSourcePlanner(BRANIN_SPACE, LOW, (CHEAP, Source("dear", 20.0, parallel=2)), seed=3, initial=6)
    pending: list[Point] = []
    most = 0
    for _ in range(30):
        pending += planner.ask(6 - len(pending), pending)
        most = max(most, sum(point[SOURCE] == "dear" for point in pending))
        planner.tell([tried(pending.pop(0), branin, branin)])
    assert most == 2


def test_where_one_source_that_counts_is_full_the_model_says_what_to_try_at_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = (Source("near", 10.0, parallel=1), Source("far", 20.0))
    planner = MultiSourcePlanner(LINE, LOW, sources, seed=1, initial=1)
    planner.tell([tried({"x": i / 8, SOURCE: "near"}, wave, wave) for i in range(9)])
    monkeypatch.setattr(planner, "_of_design", lambda *_: pytest.fail("it tries a point of the design"))
    [first] = planner.ask(1)
    assert first[SOURCE] == "near"
    [second] = planner.ask(1, [first])
    assert second[SOURCE] == "far"


def beside_a_full_source(n_cheap: int, n_dear: int) -> tuple[MultiSourcePlanner, Point]:
    """Return a planner whose dear source has no place left, and the trial that is on its way there."""
    planner = MultiSourcePlanner(LINE, LOW, (CHEAP, Source("dear", 20.0, parallel=1)), initial=1)
    points: list[Point] = [{"x": (i + 0.5) / n_cheap, SOURCE: "cheap"} for i in range(n_cheap)]
    points += [{"x": 0.1 + 0.3 * i / (n_dear - 1), SOURCE: "dear"} for i in range(n_dear)]
    planner.tell([tried(point, wave, wave) for point in points])
    return planner, {"x": 0.05, SOURCE: "dear"}


def test_while_all_that_count_are_full_it_simulates_where_that_is_worth_most_and_else_waits() -> None:
    planner, pending = beside_a_full_source(2, 8)
    [point] = planner.ask(1, [pending])
    assert point[SOURCE] == "cheap"
    planner, pending = beside_a_full_source(5, 5)
    assert planner.ask(1, [pending]) == []
    [point] = planner.ask(1)
    assert point[SOURCE] == "dear"


def test_no_model_spends_more_on_sources_that_inform_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    planner, pending = beside_a_full_source(2, 8)
    monkeypatch.setattr(planner, "_may_inform", lambda waiting: [False, True])
    assert planner.ask(1, [pending]) == []


def test_a_source_of_which_nothing_came_yet_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    planner = MultiSourcePlanner(LINE, LOW, BOTH, seed=1, initial=4)
    pending = planner.ask(4)
    planner.tell([tried({"x": x, SOURCE: "dear"}, wave, wave) for x in (0.1, 0.5, 0.9)])
    assert planner.ask(1, pending)
    assert not caplog.records


def test_while_the_first_that_count_are_on_their_way_it_searches_where_trials_are_cheap() -> None:
    planner = MultiSourcePlanner(LINE, LOW, (CHEAP, Source("dear", 20.0, parallel=3)), seed=1, initial=4)
    pending: list[Point] = []
    asked: list[str] = []
    for _ in range(11):
        new = planner.ask(1, pending)
        if not new:
            break
        asked.append(str(new[0][SOURCE]))
        if asked[-1] == "cheap":
            planner.tell([tried(new[0], wave, wave)])
        else:
            pending += new
    assert asked[:7] == ["cheap"] * 4 + ["dear"] * 3
    assert asked[7:] == ["cheap"] * 4  # as many again; then it waits
    assert planner.ask(1, pending) == []


# ---- where it tries what --------------------------------------------------------------------------------------


@pytest.mark.long
def test_it_needs_fewer_dear_trials_where_a_cheap_source_is_good() -> None:
    def cheap(point: Point) -> Outputs:
        shifted: Point = {"x": number(point, "x") - 0.3, "y": number(point, "y") + 0.3}
        return {"f": 0.5 * branin(shifted)["f"] + 2.0 * number(point, "x") - 30.0}

    planner = MultiSourcePlanner(BRANIN_SPACE, LOW, BOTH, seed=3)
    history = play(planner, cheap, branin, lambda h: best_dear(h) < 0.6)
    assert n_dear(history) <= 9
    assert len(history) < 90


@pytest.mark.long
def test_a_useless_source_is_left_alone() -> None:
    planner = MultiSourcePlanner(LINE, LOW, BOTH, seed=1)
    history = play(planner, apart, wave, lambda h: n_dear(h) >= 10)
    assert best_dear(history) < -0.95
    later = Counter(str(o.point[SOURCE]) for o in history[-6:])
    assert later["dear"] >= 4


@pytest.mark.long
def test_no_more_is_spent_on_sources_that_inform_than_on_those_that_count() -> None:
    """The prices are alike, so after the initial design at most every other trial only informs."""
    sources = (Source("cheap", 1.0, counts=False), Source("dear", 1.01))
    planner = MultiSourcePlanner(LINE, LOW, sources, initial=4)
    history = play(planner, wave, wave, lambda h: len(h) == 16)
    assert n_dear(history) >= 6


@pytest.mark.parametrize(("n_cheap", "n_dear", "may"), [(3, 3, True), (4, 3, False), (9, 3, False), (4, 4, True)])
def test_a_trial_that_informs_may_cost_what_is_left_of_what_was_spent_on_those_that_count(
    n_cheap: int, n_dear: int, may: bool
) -> None:
    planner = MultiSourcePlanner(LINE, LOW, (CHEAP, Source("dear", 1.0)), initial=1)
    points: list[Point] = [{"x": i / 10, SOURCE: "cheap"} for i in range(n_cheap)]
    points += [{"x": i / 10, SOURCE: "dear"} for i in range(n_dear)]
    planner.tell([tried(point, wave, wave) for point in points])
    assert planner._may_inform(planner._waiting([]))[0] is may


def test_a_point_tried_at_one_source_may_be_tried_at_another() -> None:
    space = Space((Integer("n", 1, 4),))
    trial: Trial = lambda p: {"f": (number(p, "n") - 2.0) ** 2}  # noqa: E731
    planner = MultiSourcePlanner(space, LOW, BOTH)
    history = play(planner, trial, trial, lambda h: n_dear(h) == 4)
    assert sorted(number(o.point, "n") for o in history if o.point[SOURCE] == "dear") == [1.0, 2.0, 3.0, 4.0]
    assert planner.ask(1) == []
    assert planner.confirm() is None


def test_quicker_sources_are_preferred_at_equal_prices() -> None:
    def costs(*sources: Source) -> list[float]:
        return MultiSourcePlanner(LINE, LOW, sources)._costs.each()

    plain = costs(Source("a", 2.0, counts=False), Source("b", 2.0))
    assert plain == [0.5, 0.5]
    quick = costs(Source("a", 2.0, 10.0, counts=False), Source("b", 2.0, 990.0))
    assert quick == pytest.approx([0.51, 1.49])


def test_seconds_and_prices_are_learned_from_trials() -> None:
    planner = MultiSourcePlanner(LINE, LOW, (CHEAP, Source("dear", 20.0, 1.0)))
    planner.tell(
        [
            Observation({"x": 0.1, SOURCE: "cheap"}, outputs={"f": 1.0}, seconds=5.0),
            Observation({"x": 0.2, SOURCE: "dear"}, outputs={"f": 1.0}, seconds=199.0, cost=60.0),
        ]
    )
    assert planner._costs.each() == pytest.approx([1 / 41 + 5 / 105, 40 / 41 + 100 / 105])


def test_it_confirms_the_point_that_it_believes_to_be_best() -> None:
    planner = told(lambda p: {"f": wave(p)["f"] + 5.0}, wave, 18, 4)
    assert isinstance(planner, Confirming)
    point = planner.confirm()
    assert point is not None
    assert point[SOURCE] == "dear"
    assert wave(point)["f"] < -0.98


def test_it_confirms_without_a_model_too() -> None:
    planner = MultiSourcePlanner(LINE, LOW, BOTH)
    xs = [0.1, 0.5, 0.9]
    planner.tell([Observation({"x": x, SOURCE: "cheap"}, outputs=wave({"x": x})) for x in xs])
    best = min(xs, key=lambda x: wave({"x": x})["f"])
    assert planner.confirm() == {"x": pytest.approx(best), SOURCE: "dear"}


@pytest.mark.long
def test_constraints_are_learned_at_every_source() -> None:
    def trial(point: Point) -> Outputs:
        return wave(point) | {"g": number(point, "x")}

    planner = MultiSourcePlanner(LINE, LOW, BOTH, constraints=[Constraint("g", upper=0.3, lower=0.1)], seed=2)
    history = play(planner, trial, trial, lambda h: len(h) == 16)
    kept = [o for o in history if o.point[SOURCE] == "dear" and 0.1 <= o.outputs["g"] <= 0.3]
    assert min(o.outputs["f"] for o in kept) < wave({"x": 0.3})["f"] + 0.3


@pytest.mark.long
def test_a_target_is_come_near_to() -> None:
    planner = MultiSourcePlanner(LINE, [Objective("f", "target", 0.25)], BOTH)
    history = play(planner, wave, wave, lambda h: len(h) == 20)
    assert min(abs(o.outputs["f"] - 0.25) for o in history if o.point[SOURCE] == "dear") < 0.02


def test_where_points_do_not_work_is_learned_at_every_source() -> None:
    def trial(point: Point) -> Outputs | None:
        return None if 0.5 < number(point, "x") < 0.8 else wave(point)

    planner = MultiSourcePlanner(LINE, LOW, BOTH, seed=4)
    history = play(planner, trial, trial, lambda h: len(h) == 24)
    assert sum(not o.outputs for o in history) <= 10
    assert best_dear(history) < -0.8


def test_choices_and_pools_are_searched() -> None:
    space = Space((Choice("c", ("a", "b", "c")), Integer("n", 0, 20)))
    value: Trial = lambda p: {"f": "abc".index(str(p["c"])) + (number(p, "n") - 13.0) ** 2 / 40.0}  # noqa: E731
    pool: tuple[Point, ...] = tuple({"c": c, "n": n} for c in "abc" for n in range(0, 21, 2))
    for searched in (space, Space(space.parameters, pool)):
        planner = MultiSourcePlanner(searched, LOW, BOTH)
        history = play(planner, value, value, lambda h: len(h) == 18)
        assert all(searched.problems(bare(o.point)) == [] for o in history)
        assert best_dear(history) <= 0.1


def test_constraints_between_parameters_hold_at_every_source() -> None:
    limit = ParameterConstraint((("x", 1.0), ("y", 1.0)), upper=8.0)
    space = Space(BRANIN_SPACE.parameters, constraints=(limit,))
    planner = MultiSourcePlanner(space, LOW, BOTH, seed=1)
    history = play(planner, branin, branin, lambda h: len(h) == 14)
    assert all(space.problems(bare(o.point)) == [] for o in history)
    assert n_dear(history) >= 3


# ---- what every planner holds ---------------------------------------------------------------------------------


def test_the_same_history_gives_the_same_points() -> None:
    first = MultiSourcePlanner(BRANIN_SPACE, LOW, BOTH, seed=7)
    history = play(first, branin, branin, lambda h: len(h) == 14)
    pending = first.ask(2)
    second = MultiSourcePlanner(BRANIN_SPACE, LOW, BOTH, seed=7)
    second.tell(history)
    assert second.ask(2) == pending
    assert second.ask(1, pending) == first.ask(1, pending)


def test_a_batch_is_asked_one_by_one_with_the_former_pending() -> None:
    planner = told(biased, wave, 8, 4)
    batch = planner.ask(4)
    assert len({tuple(sorted(point.items())) for point in batch}) == 4
    one_by_one: list[Point] = []
    for _ in range(4):
        one_by_one += planner.ask(1, one_by_one)
    assert one_by_one == batch


def test_everything_may_be_pending() -> None:
    planner = MultiSourcePlanner(LINE, LOW, BOTH)
    points = planner.ask(12)
    assert Counter(str(point[SOURCE]) for point in points) == {"cheap": 6, "dear": 6}
    assert len({(point["x"], point[SOURCE]) for point in points}) == 12


def test_a_source_whose_trials_are_all_abandoned_is_asked_no_more() -> None:
    planner = MultiSourcePlanner(LINE, LOW, BOTH)
    for _ in range(3):
        [point] = planner.ask(1)
        assert point[SOURCE] == "cheap"
        planner.tell([Observation(point, "abandoned")])
    history = play(planner, wave, wave, lambda h: len(h) == 6)
    assert n_dear(history) == 6


def test_the_last_point_of_a_source_that_counts_comes_again_though_it_was_abandoned() -> None:
    pool: tuple[Point, ...] = tuple({"x": x / 7} for x in range(8))
    planner = MultiSourcePlanner(Space(LINE.parameters, pool), LOW, BOTH)
    planner.tell([Observation({**p, SOURCE: "cheap"}, outputs=wave(p)) for p in pool])
    planner.tell([Observation({**p, SOURCE: "dear"}, outputs=wave(p)) for p in pool[1:]])
    for _ in range(5):
        assert planner.ask(2) == [{**pool[0], SOURCE: "dear"}]
        planner.tell([Observation({**pool[0], SOURCE: "dear"}, "abandoned")])
    assert planner.ask(1) == []


def test_earlier_observations_save_the_initial_design() -> None:
    warm = [Observation({"x": x, SOURCE: "cheap"}, outputs=wave({"x": x})) for x in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    warm += [Observation({"x": x}, outputs=wave({"x": x})) for x in (0.1, 0.9)]
    planner = create("bayesian", LINE, LOW, sources=BOTH, warm=warm)
    [point] = planner.ask(1)
    assert point[SOURCE] == "dear"


def test_what_waiting_is_worth_is_an_option() -> None:
    slow = (Source("cheap", 1.0, 90.0, counts=False), Source("dear", 1.0, 10.0))
    planner = create("bayesian", LINE, LOW, sources=slow, options={"time": 2.0})
    assert isinstance(planner, MultiSourcePlanner)
    assert planner._costs.each() == pytest.approx([0.5 + 1.8, 0.5 + 0.2])
    with pytest.raises(UsageError, match=r"Option time: found 2\.0, but every source counts"):
        create("bayesian", LINE, LOW, options={"time": 2.0})


def test_numerical_faults_give_a_point_of_the_design(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("not positive definite")

    planner = told(biased, wave, 8, 4)
    monkeypatch.setattr("renkei.planning._source_surrogate.fit_sources", broken)
    with caplog.at_level(logging.WARNING):
        [point] = planner.ask(1)
    assert point[SOURCE] == "dear"
    assert 0.0 <= number(point, "x") <= 1.0
    assert "not positive definite" in caplog.text


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300, 3.0])
def test_strange_outputs_do_no_harm(value: float) -> None:
    planner = MultiSourcePlanner(LINE, LOW, BOTH)
    history = play(planner, lambda p: {"f": value}, lambda p: {"f": 3.0}, lambda h: len(h) == 12)
    assert len(history) == 12


def test_six_parameters_are_searched() -> None:
    planner = MultiSourcePlanner(HARTMANN_SPACE, LOW, BOTH, seed=0)
    cheap: Trial = lambda p: {"f": 0.8 * hartmann(p)["f"] + 0.2 * number(p, "x0")}  # noqa: E731
    history = play(planner, cheap, hartmann, lambda h: best_dear(h) < -2.5)
    assert n_dear(history) <= 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objectives": [Objective("f"), Objective("g")]}, "takes one objective, found 2"),
        ({"objectives": [Objective("f", "least")]}, "no goal is named 'least'"),
        ({"objectives": [Objective("f", "target")]}, "needs its target"),
        ({"sources": (CHEAP,)}, "None of the sources counts"),
        ({"sources": (DEAR, DEAR)}, "same name"),
        ({"sources": (Source("a", 0.0),)}, "found price 0.0"),
        ({"sources": (Source("a", 1.0, math.nan),)}, "found seconds nan"),
        ({"initial": 0}, "Option initial: found 0"),
        ({"time": -1.0}, "Option time: found -1.0"),
    ],
)
def test_bad_input_is_refused(options: dict[str, object], said: str) -> None:
    arguments: dict[str, object] = {"objectives": LOW, "sources": BOTH} | options
    with pytest.raises(UsageError, match=said):
        MultiSourcePlanner(LINE, **arguments)  # type: ignore[arg-type]


def test_a_point_of_an_unknown_source_is_refused() -> None:
    planner = MultiSourcePlanner(LINE, LOW, BOTH)
    with pytest.raises(UsageError, match=r"cannot use a point of source 'chep'\. Did you mean 'cheap'"):
        planner.tell([Observation({"x": 0.5, SOURCE: "chep"}, outputs={"f": 1.0})])
    with pytest.raises(UsageError, match="source 'None'"):
        planner.ask(1, [{"x": 0.5}])
    with pytest.raises(UsageError, match="outcome 'lost'"):
        planner.tell([Observation({"x": 0.5, SOURCE: "cheap"}, "lost")])
