import itertools
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from benchmarks.planning import alone, campaign, page, reference, results, runner, scores
from benchmarks.planning.campaign import Line
from benchmarks.planning.functions import functions
from benchmarks.planning.peers import ENTRIES
from benchmarks.planning.problem import Problem, drawn, encoded
from benchmarks.planning.reference import expected_best, losses
from benchmarks.planning.scores import Case

from renkei.model.space import Choice, Integer, Point, Real, Space

NAMED = {"renkei": 0.0, "blind": 6.0}
VALUES = np.sort(np.random.default_rng(0).normal(size=9))
MIXED = Space((Real("x", 1.0, 100.0, log=True), Integer("n", 2, 5), Choice("c", ("a", "b", "c"))))
POOL: tuple[Point, ...] = tuple({"x": float(10**k), "n": n, "c": c} for k in range(3) for n in (2, 5) for c in "abc")


def line(planner: str, best: list[tuple[int, float]], seed: int = 0, n: int = 4, error: str = "") -> Line:
    return Line("p", 1, planner, "1", seed, n, best, 0, 0.1, error)


def height(point: Point) -> float:
    return math.log10(float(point["x"])) + float(point["n"])


def pool(truth: Callable[[Point], float] = height, noise: float = 0.0) -> Problem:
    return Problem("p", "table", "", Space(MIXED.parameters, POOL), truth, noise=noise)


@pytest.mark.parametrize("n", [1, 3, 9])
def test_expected_best_of_random_draws_is_the_mean_over_all_draws(n: int) -> None:
    every = [min(chosen) for chosen in itertools.combinations(VALUES, n)]
    assert expected_best(VALUES, n) == pytest.approx(np.mean(every))


def test_draws_that_fail_or_are_infeasible_find_nothing() -> None:
    whole = [expected_best(VALUES, k) for k in (1, 2, 3)]
    by_hand = 0.8**3 * whole[2] + 3 * 0.8**2 * 0.2 * whole[1] + 3 * 0.8 * 0.2**2 * whole[0] + 0.2**3 * VALUES[-1]
    assert expected_best(VALUES, 3, failing=0.2) == pytest.approx(by_hand)
    assert expected_best(np.array([1.0, 2.0, math.inf]), 1) == pytest.approx((1 + 2 + 2) / 3)


def test_ranks_are_by_score_and_ties_share_theirs() -> None:
    assert scores.ranks(np.array([0.2, 0.9, 0.2, -1.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_a_score_is_0_where_random_search_gets_and_1_at_the_best_known() -> None:
    random = np.arange(10.0)
    expected = expected_best(random, 4)
    found = {
        "best": [line("best", [(2, 5.0), (3, 0.0)])],
        "blind": [line("blind", [(1, expected)])],
        "none": [line("none", [])],
    }
    case = Case("p", 1, 4, 0.0, random, 0.0, found)
    assert case.scores("best").tolist() == [1.0]
    assert case.scores("blind") == pytest.approx([0.0])
    assert case.scores("none").tolist() == [-1.0]
    assert case.scores("best", 2) == pytest.approx([(expected_best(random, 2) - 5.0) / expected_best(random, 2)])


def test_speedup_counts_the_evaluations_of_campaigns_that_never_hit() -> None:
    random = np.arange(1.0, 20.0)
    hit, missed = line("a", [(1, 3.0), (2, 1.0)]), line("a", [(1, 2.0)], seed=1)
    case = Case("p", 1, 4, 0.0, random, 1.0, {"a": [hit, missed], "b": [missed]})
    found = scores.speedup(case, "a", 0.0)
    assert found.factor == pytest.approx((19 + 1) / 2 / (2 + 4))
    assert (found.hits, found.n) == (1, 2)
    assert scores.speedup(case, "b", 0.0).factor == 0
    assert scores.speedup(case, "b", 0.0).bound == pytest.approx(10 / 4)
    assert scores.speedup(case, "b", 0.1).factor == pytest.approx((19 + 1) / 3 / 1)  # the best two of 19


def test_what_failures_leave_of_the_acceleration_is_a_median_over_tables() -> None:
    random = np.arange(1.0, 20.0)

    def pair(calm_at: int, failing_at: int) -> tuple[scores.Speedup, scores.Speedup]:
        calm = Case("p", 1, 4, 0.0, random, 1.0, {"a": [line("a", [(calm_at, 1.0)])]})
        failing = Case("p+failures", 1, 4, 0.2, random, 1.0, {"a": [line("a", [(failing_at, 1.0)])]})
        return scores.speedup(calm, "a", 0.0), scores.speedup(failing, "a", 0.0)

    found, interval = scores.median_ratio([pair(4, 5), pair(2, 4), pair(4, 4)])
    assert found == pytest.approx(1.0)  # a quarter more evaluations is what random needs too
    assert interval == pytest.approx((1.0, 1.0))
    assert scores.median_ratio([pair(2, 4)])[0] == pytest.approx(0.625)
    never = Case("p", 1, 4, 0.0, random, 1.0, {"a": [line("a", [])]})
    assert scores.median_ratio([(scores.speedup(never, "a", 0.0), pair(1, 1)[1])])[0] == 0.0


def test_standings_put_the_best_optimiser_first() -> None:
    random = np.arange(10.0)
    good = [line("good", [(1, 0.0)], seed=s) for s in range(3)]
    bad = [line("bad", [(1, 6.0)], seed=s) for s in range(3)]
    cases = [Case(name, 1, 4, 0.0, random, 0.0, {"bad": bad, "good": good}) for name in "xyz"]
    first, second = scores.standings(cases, ["bad", "good"])
    assert (first.planner, first.median_rank, first.mean_score) == ("good", 1.0, 1.0)
    assert (second.planner, second.median_interval) == ("bad", (2.0, 2.0))


def test_campaigns_are_read_as_they_were_written_and_half_a_line_is_left_out(tmp_path: Path) -> None:
    kept = [line("a", [(1, 2.5), (4, -1.0)]), line("a", [], seed=1, error="after 0: ValueError: no")]
    for each in kept:
        results.write(each, tmp_path)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"problem":"p","batch":1')
    assert results.read(tmp_path) == kept
    assert results.newest(kept) == {"a": "1"}
    assert (kept[0].best_at(3), kept[1].best_at(3), kept[0].reached_at(0.0), kept[0].reached_at(-2.0)) == (
        2.5,
        math.inf,
        4,
        None,
    )


def test_every_beginning_of_the_list_of_campaigns_is_the_benchmark_with_fewer_seeds() -> None:
    planners = [e for e in ENTRIES if e.module == "ours"]
    jobs = list(runner.jobs([pool(), pool().with_failures(0.2)], planners, {1: 10, 8: 16}, 3, "tag"))
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert Counter((job.problem, job.batch, job.n_evaluations) for job in jobs) == {
        ("p", 1, 10): 9, ("p", 8, 16): 9, ("p+failures", 1, 10): 9,
    }  # fmt: skip


def test_a_campaign_ends_where_it_finds_what_it_looks_for() -> None:
    whole = campaign.run(pool(), 1, 40, "random", "1", 0)
    found = campaign.run(pool(), 1, 40, "random", "1", 0, 2.0)
    assert whole.n == len(POOL)
    assert found.n == whole.reached_at(2.0) < len(POOL)
    assert found.best == whole.best


def test_tables_are_searched_to_the_end_without_and_with_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "calm_and_failing_tables", lambda: [(pool(), pool().with_failures(0.2))])
    every = list(alone.jobs(tmp_path, 2, "tag"))
    assert [(job.problem, job.seed, job.until) for job in every] == [
        ("p", 0, 2.0), ("p+failures", 0, 2.0), ("p", 1, 2.0), ("p+failures", 1, 2.0),
    ]  # fmt: skip
    for name, seed in [("p", 0), ("p+failures", 0), ("p", 1)]:
        results.write(Line(name, 1, "renkei", "tag", seed, 3, [(3, 2.0)], 0, 0.1), tmp_path / alone.SUBFOLDER)
    [(calm, failing)] = alone.cases(tmp_path)
    assert (calm.failing, failing.failing) == (0.0, 0.2)
    assert [[line.seed for line in case.lines["renkei"]] for case in (calm, failing)] == [[0], [0]]
    assert scores.speedup(calm, "renkei", 0.0).factor == pytest.approx((18 + 1) / (3 + 1) / 3)


def test_luck_is_the_same_for_every_optimiser_and_failures_have_the_chance_that_they_should() -> None:
    problem = pool(noise=0.1).with_failures(0.2)
    first, again = (problem.evaluate(POOL[0], 3, 7) for _ in range(2))
    assert (first.outcome, first.seen) == (again.outcome, again.seen)
    outcomes = Counter(problem.evaluate(POOL[0], seed, at).outcome for seed in range(20) for at in range(100))
    assert outcomes["failed"] / 2000 == pytest.approx(0.2, abs=0.03)
    assert pool(lambda _: math.nan).evaluate(POOL[0], 0, 0).outcome == "infeasible"


def test_the_nearest_row_is_never_one_that_is_taken() -> None:
    problem = pool()
    point = {"x": 9.0, "n": 5, "c": "b"}
    first = problem.nearest(point, [])
    assert POOL[first] == {"x": 10.0, "n": 5, "c": "b"}
    second = problem.nearest(point, [first])
    assert second != first
    assert POOL[second]["n"] == 5


def test_points_are_drawn_from_the_whole_space_and_encoded_to_the_unit_cube() -> None:
    luck = Random(0)
    points = [drawn(MIXED.parameters, [luck.random() for _ in MIXED.parameters]) for _ in range(300)]
    assert not any(MIXED.problems(point) for point in points)
    assert {(point["n"], point["c"]) for point in points} == set(itertools.product((2, 3, 4, 5), "abc"))
    features = encoded(MIXED.parameters, points)
    assert features.shape == (300, 5)
    assert features.min() >= 0
    assert features.max() <= 1
    assert np.median(features[:, 0]) == pytest.approx(0.5, abs=0.1)  # uniform in the logarithm


@pytest.mark.parametrize("problem", functions(), ids=[problem.name for problem in functions()])
def test_no_random_point_is_below_the_minimum_of_a_function(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(reference.N_DRAWS, "function", 1000)
    assert problem.minimum is not None
    found = losses(problem, tmp_path)
    assert found[0] >= problem.minimum
    assert expected_best(found, 40) > problem.minimum + 1e-3


def test_a_page_over_few_seeds_says_that_it_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "problems", list[Problem])  # their packages may not be there

    def said(n_seeds: int) -> str:
        found = {name: [line(name, [(1, best)], seed) for seed in range(n_seeds)] for name, best in NAMED.items()}
        return page._short([Case("p", 1, 4, 0.0, np.arange(10.0), 0.0, found)], list(NAMED), [])

    assert "**Not complete**: of 10 seeds only 1 was run" in said(1)
    assert "**Not complete**: of 10 seeds only 9 were run" in said(9)
    assert "Not complete" not in said(10)
