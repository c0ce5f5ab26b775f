"""How many trials at a dear source a campaign needs, with a cheap source beside it and without.

Every problem has a truth, at a price of 20, and a cheap source, at a price of 1, that is some approximation of it. Both
searches go on until a trial at the dear source reaches the level. What is compared is the number of trials at the dear
source up to then, and the price of all trials, the cheap ones included. A search that did not get there counts as one
trial more than it was given.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from renkei.model.space import SOURCE, Objective, Observation, Real, Space
from renkei.planning import Planner, Source, create

RATIO = 20.0
SOURCES = (Source("cheap", 1.0, counts=False), Source("dear", RATIO))
Function = Callable[[Sequence[float]], float]


def branin(x: Sequence[float], b: float = 5.1 / (4 * math.pi**2), c: float = 5 / math.pi, t: float = 1 / (8 * math.pi)):
    return (x[1] - b * x[0] ** 2 + c * x[0] - 6) ** 2 + 10 * (1 - t) * math.cos(x[0]) + 10


def branin_low(x: Sequence[float]) -> float:
    """With other constants, as by Kandasamy et al. (2017) at their lowest fidelity."""
    return branin(x, 5.1 / (4 * math.pi**2) - 0.01, 5 / math.pi - 0.1, 1 / (8 * math.pi) + 0.05)


def branin_biased(x: Sequence[float]) -> float:
    """Scaled, shifted along both parameters, on a slope."""
    return 0.5 * branin((x[0] - 0.5, x[1] + 0.5)) + 4 * x[0] - 30


def nothing(x: Sequence[float]) -> float:
    """Says nothing of Branin's function."""
    return 30 * math.sin(1.3 * x[0] + 0.5) * math.cos(0.9 * x[1] - 1) + 5 * x[1]


def currin(x: Sequence[float]) -> float:
    bend = 1 - math.exp(-1 / (2 * x[1])) if x[1] > 1e-12 else 1.0
    up = 2300 * x[0] ** 3 + 1900 * x[0] ** 2 + 2092 * x[0] + 60
    return bend * up / (100 * x[0] ** 3 + 500 * x[0] ** 2 + 4 * x[0] + 20)


def currin_low(x: Sequence[float]) -> float:
    """The mean of four neighbours (Xiong, Qian and Wu 2013)."""
    steps = [(dx, dy) for dx in (-0.05, 0.05) for dy in (-0.05, 0.05)]
    return statistics.fmean(currin((x[0] + dx, max(0.0, x[1] + dy))) for dx, dy in steps)


_A = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))
_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def hartmann(x: Sequence[float], alpha: Sequence[float] = (1.0, 1.2, 3.0, 3.2)) -> float:
    hills = (
        height * math.exp(-sum(a * (v - p) ** 2 for a, v, p in zip(row, x, peak, strict=True)))
        for height, row, peak in zip(alpha, _A, _P, strict=True)
    )
    return -sum(hills)


def hartmann_low(x: Sequence[float]) -> float:
    """With other heights of the hills (Park, Haftka and Kim 2017)."""
    return hartmann(x, (0.5, 0.5, 2.0, 4.0))


def hartmann_biased(x: Sequence[float]) -> float:
    """Scaled, shifted along every parameter, on a slope."""
    return 3 + 0.5 * hartmann([min(1.0, v + 0.05) for v in x]) + 0.3 * (x[0] - x[3])


def borehole(x: Sequence[float], scale: float = 2 * math.pi, one: float = 1.0) -> float:
    radius, influence, upper, head_upper, lower, head_lower, length, conductivity = x
    log = math.log(influence / radius)
    leak = 2 * length * upper / (log * radius**2 * conductivity)
    return scale * upper * (head_upper - head_lower) / (log * (one + leak + upper / lower))


def borehole_low(x: Sequence[float]) -> float:
    """With other constants (Xiong, Qian and Wu 2013)."""
    return borehole(x, 5.0, 1.5)


@dataclass(frozen=True)
class Problem:
    """A truth, its cheap approximation, and what is to be reached."""

    bounds: Sequence[tuple[float, float]]
    dear: Function
    cheap: Function
    objective: Objective

    @property
    def space(self) -> Space:
        """What is searched."""
        return Space(tuple(Real(f"x{i}", low, high) for i, (low, high) in enumerate(self.bounds)))


_BRANIN = ((-5.0, 10.0), (0.0, 15.0))
_BOREHOLE = (
    (0.05, 0.15), (100.0, 50000.0), (63070.0, 115600.0), (990.0, 1110.0),
    (63.1, 116.0), (700.0, 820.0), (1120.0, 1680.0), (9855.0, 12045.0),
)  # fmt: skip
_DOWN, _FAR_DOWN = Objective("y", reach=0.45), Objective("y", reach=-3.0)
PROBLEMS = {
    "Branin": Problem(_BRANIN, branin, branin_low, _DOWN),
    "Currin": Problem(((0.0, 1.0),) * 2, currin, currin_low, Objective("y", "maximize", reach=13.75)),
    "Hartmann 6": Problem(((0.0, 1.0),) * 6, hartmann, hartmann_low, _FAR_DOWN),
    "Borehole": Problem(_BOREHOLE, borehole, borehole_low, Objective("y", "maximize", reach=300.0)),
    "Branin, biased and shifted": Problem(_BRANIN, branin, branin_biased, _DOWN),
    "Hartmann 6, biased and shifted": Problem(((0.0, 1.0),) * 6, hartmann, hartmann_biased, _FAR_DOWN),
    "Branin, useless source": Problem(_BRANIN, branin, nothing, _DOWN),
}


def search(problem: Problem, planner: Planner, most: int) -> tuple[int, int]:
    """Return how many trials there were at the dear and at the cheap source until the level was reached."""
    n_dear = n_cheap = 0
    while n_dear < most:
        [point] = planner.ask(1)
        is_cheap = point.get(SOURCE) == "cheap"
        value = (problem.cheap if is_cheap else problem.dear)([float(point[name]) for name in problem.space.names])
        planner.tell([Observation(point, outputs={"y": value})])
        n_dear, n_cheap = n_dear + (not is_cheap), n_cheap + is_cheap
        if not is_cheap and problem.objective.loss(value) <= (problem.objective.reach_loss or 0.0):
            return n_dear, n_cheap
    return most + 1, n_cheap


def measure(name: str, seeds: int, most: int) -> list[str]:
    """Return one row of the table."""
    problem = PROBLEMS[name]
    goals = [problem.objective]
    with_both = [search(problem, create("bayesian", problem.space, goals, sources=SOURCES, seed=s), most)
                 for s in range(seeds)]  # fmt: skip
    alone = [search(problem, create("bayesian", problem.space, goals, seed=s), most) for s in range(seeds)]
    dear, cheap = ([each[i] for each in with_both] for i in (0, 1))
    single = [each[0] for each in alone]
    price = [d + c / RATIO for d, c in with_both]
    fewer, saved = (statistics.median(single) / statistics.median(each) for each in (dear, price))
    return [name, _range(single), _range(dear), _range(cheap), f"{fewer:.1f}", f"{saved:.1f}"]


def _range(counts: Sequence[int]) -> str:
    return f"{statistics.median(counts):g} ({min(counts)} to {max(counts)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how often each search is repeated")
    parser.add_argument("--most", type=int, default=40, help="trials at the dear source after which a search gives up")
    parser.add_argument("--quick", action="store_true", help="three seeds, and problems of two parameters only")
    parser.add_argument("--only", choices=PROBLEMS, action="append", help="this problem; may be repeated")
    given = parser.parse_args()
    names = given.only or [name for name in PROBLEMS if not given.quick or len(PROBLEMS[name].bounds) == 2]
    seeds = 3 if given.quick else given.seeds
    began = time.monotonic()
    print("| problem | dear trials, alone | dear trials, with a cheap source | cheap trials | fewer | cheaper |")
    print("|---|---|---|---|---|---|")
    for name in names:
        print(f"| {' | '.join(measure(name, seeds, given.most))} |", flush=True)
    print(f"\nMedian, least and most over {seeds} seeds; {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
