"""What the histories of several sources say about the truth, and what another trial at each is worth."""

# pyright: basic, reportPrivateImportUsage=false
# torch and botorch ship no complete types.

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from torch import Tensor

from renkei.model.space import Constraint, Objective
from renkei.planning._feasibility import Feasibility, fit_feasibility
from renkei.planning._history import History
from renkei.planning._rows import Rows
from renkei.planning._source_model import SourceProcess, fit_sources

_LOG_RATIO = 10.0
"""Positive outputs that span more than this are tried in the logarithm, too."""

_N_DRAWS = 16
"""Of what pending trials may give."""

MAX_ROWS = 1000
"""Models keep at most so many trials of each source: the best half of so many, the rest evenly spread."""


class SourceSurrogate:
    """Models of the truth fitted to the histories of all sources; depends on the histories alone.

    Args:
        histories: What was told of each source, n_sources; some trial at a source that counts gave every output.
        counts: Whether each source counts, n_sources.
        objective: What to reach for.
        constraints: What outputs must satisfy.

    Attributes:
        best_rows: Trials at any source, those first of which the truth is expected to be best, n x n_columns.

    Raises:
        ValueError: A fit did not converge.
    """

    def __init__(
        self,
        histories: Sequence[History],
        counts: Sequence[bool],
        objective: Objective,
        constraints: Sequence[Constraint],
    ) -> None:
        self._counts = tuple(counts)
        outputs = list(histories[0].outputs)
        self._outputs = outputs
        owner = torch.from_numpy(histories[0].codec.owner)
        kept = [_kept(history, objective) for history in histories]
        rows = np.concatenate([history.rows()[places] for history, places in zip(histories, kept, strict=True)])
        at = np.repeat(np.arange(len(histories)), [len(places) for places in kept])
        self._processes: list[SourceProcess] = []
        scales: dict[str, _Scale] = {}
        for name in outputs:
            values = [history.values(name)[places] for history, places in zip(histories, kept, strict=True)]
            noise = [history.noise(name)[places] for history, places in zip(histories, kept, strict=True)]
            found: list[tuple[float, SourceProcess, _Scale]] = []
            for by_source in _scalings(values, counts, may_log=(name, "target") != (objective.output, objective.goal)):
                scaled = np.concatenate([s.scaled(v) for s, v in zip(by_source, values, strict=True)])
                slopes = np.concatenate([s.slopes(v) for s, v in zip(by_source, values, strict=True)])
                known = (slopes * np.concatenate(noise)) ** 2
                there = np.isfinite(scaled)
                x, s, y, variance, slope = (torch.from_numpy(c[there]) for c in (rows, at, scaled, known, slopes))
                process, loss = fit_sources(x, s, y, variance, slope, owner, counts)
                found.append((loss, process, by_source[self._counts.index(True)]))
            _, process, scales[name] = min(found, key=lambda each: each[0])
            self._processes.append(process)
        self._goal = _Goal(objective, constraints, scales)
        self._rows, self._at = torch.from_numpy(rows), torch.from_numpy(at)
        self._feasibility = _feasibilities(histories, kept, counts, owner)
        with torch.no_grad():
            loss, holds = self._goal.expected([p.truth_mean(self._rows) for p in self._processes])
        order = np.lexsort((loss[0].numpy(), ~holds[0].numpy()))
        self.best_rows = rows[order[:64]]

    @property
    def n_rows(self) -> int:
        """Trials that the models keep."""
        return len(self._rows)

    def trust(self) -> list[float]:
        """Return how far each source goes with the truth in the objective, between -1 and 1: n_sources."""
        process = self._processes[self._outputs.index(self._goal.output)]
        return [process.correlation(source) for source in range(len(self._counts))]

    def acquisitions(self, pending: Rows, at: Sequence[int]) -> "list[Gain]":
        """Return the logarithm of what a trial at each source is worth, its price apart: n_sources.

        Args:
            pending: Points on their way, n_pending x n_columns. What each may give is drawn from the model, and what a
                trial is worth is averaged over that: the first of several at the best place may disappoint.
            at: The place of the source of each, n_pending.
        """
        waiting, places = torch.from_numpy(pending), torch.tensor(list(at), dtype=torch.long)
        with torch.no_grad():
            halves = [torch.randn(len(waiting), _N_DRAWS // 2, dtype=torch.double) for _ in self._processes]
            processes = [
                process.imagining(waiting, places, torch.cat([half, -half], dim=1))
                for process, half in zip(self._processes, halves, strict=True)
            ]
            rows, sources = torch.cat([self._rows, waiting]), torch.cat([self._at, places])
            loss, holds = self._goal.expected([process.truth_mean(rows) for process in processes])
            counted = torch.tensor(self._counts)[sources]
            confirmed, believed = _lowest(loss, holds & counted), _lowest(loss, holds)
        return [
            Gain(
                processes,
                self._goal,
                source,
                confirmed if counts else believed,
                [works for of in sorted({self._counts.index(True), source}) if (works := self._feasibility[of])],
            )
            for source, counts in enumerate(self._counts)
        ]

    def belief(self) -> "Belief":
        """Return how good the truth is expected to be, the larger the better."""
        return Belief(self._processes, self._goal, self._feasibility[self._counts.index(True)])


class Gain(AcquisitionFunction):
    """The logarithm of the improvement that is expected of a trial at one source.

    At a source that counts: the expected improvement on the best confirmed value. At another: how much the expectation
    of the point's true value is expected to exceed the best one believed in once the trial is known (the knowledge
    gradient of Frazier, Powell and Dayanik 2009 among two alternatives; Poloczek, Wang and Frazier 2017 take it by
    price, as the planner does). Both times the probability that constraints hold and that the point works.
    """

    def __init__(
        self,
        processes: Sequence[SourceProcess],
        goal: "_Goal",
        source: int,
        best: Tensor,
        feasibility: Sequence[Feasibility],
    ) -> None:
        super().__init__(model=None)  # pyright: ignore[reportArgumentType] - nothing asks it
        self._processes, self._goal, self._source = list(processes), goal, source
        self._best, self._works = best, list(feasibility)

    def forward(self, X: Tensor) -> Tensor:
        """Return the gain: n x 1 x n_columns to n."""
        rows = X.squeeze(-2)
        seen = [process.foresight(rows, self._source) for process in self._processes]
        found = self._goal.log_improvement([(mean, moved) for mean, _, moved in seen], self._best)
        found = found + self._goal.log_holds([(mean, deviation) for mean, deviation, _ in seen])
        found = found.logsumexp(dim=0) - math.log(len(found))
        for works in self._works:
            found = found + works.log_probability(rows)
        return found


class Belief(AcquisitionFunction):
    """How good the truth is expected to be: the negated expected loss, and the logarithm of what may spoil it."""

    def __init__(self, processes: Sequence[SourceProcess], goal: "_Goal", works: Feasibility | None) -> None:
        super().__init__(model=None)  # pyright: ignore[reportArgumentType] - nothing asks it
        self._processes, self._goal, self._works = list(processes), goal, works

    def forward(self, X: Tensor) -> Tensor:
        """Return the belief: n x 1 x n_columns to n."""
        rows = X.squeeze(-2)
        seen = [process.foresight(rows, process.truth) for process in self._processes]
        loss, _ = self._goal.expected([mean for mean, _, _ in seen])
        found = (self._goal.log_holds([(mean, deviation) for mean, deviation, _ in seen]) - loss)[0]
        return found if self._works is None else found + self._works.log_probability(rows)


class _Goal:
    """One objective and constraints on scaled outputs of the truth.

    Args:
        objective: What to reach for.
        constraints: Bounds; open ones vanish.
        scales: Of every output by name, in the order of the outputs.
    """

    def __init__(self, objective: Objective, constraints: Sequence[Constraint], scales: "dict[str, _Scale]") -> None:
        places = {name: place for place, name in enumerate(scales)}
        self.output = objective.output
        self._place, self._goal = places[objective.output], objective.goal
        self._target = scales[objective.output].bound(objective.target) if objective.target is not None else 0.0
        self._bounds = [
            (places[c.output], scales[c.output].bound(c.lower), scales[c.output].bound(c.upper)) for c in constraints
        ]

    def expected(self, means: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss of expected outputs, and whether they hold every constraint: n_draws x n each."""
        value = means[self._place]
        loss = {"minimize": value, "maximize": -value, "target": (value - self._target).abs()}[self._goal]
        holds = torch.ones_like(value, dtype=torch.bool)
        for place, lower, upper in self._bounds:
            holds = holds & (means[place] >= lower) & (means[place] <= upper)
        return loss, holds

    def log_improvement(self, outputs: Sequence[tuple[Tensor, Tensor]], best: Tensor) -> Tensor:
        """Return log E[max(0, best - loss)] of outputs that are normal with these means and deviations: n_draws x n.

        Args:
            outputs: Means, n_draws x n, and deviations, n.
            best: n_draws x 1.
        """
        mean, deviation = outputs[self._place]
        if self._goal != "target":
            below = best - mean if self._goal == "minimize" else best + mean
            return _log_excess(below / deviation) + deviation.log()
        # The gain is a triangle of half-width `best` around the target: a sum of three ramps.
        away = -(mean - self._target).abs()
        ramps = [_log_excess((away + shift) / deviation) for shift in (best, torch.zeros_like(best), -best)]
        rest = -2.0 * torch.exp(ramps[1] - ramps[0]) + torch.exp(ramps[2] - ramps[0])
        return ramps[0] + torch.log1p(rest.clamp_min(-1.0 + 1e-12)) + deviation.log()

    def log_holds(self, outputs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the log probability that every constraint holds, outputs being independent: n_draws x n."""
        found = torch.zeros_like(outputs[0][0])
        for place, lower, upper in self._bounds:
            mean, deviation = outputs[place]
            above, below = torch.full_like(mean, -math.inf), torch.zeros_like(mean)
            if math.isfinite(upper):
                below = torch.special.log_ndtr((upper - mean) / deviation)
            if not math.isfinite(lower):
                found = found + below
                continue
            if not math.isfinite(upper):
                found = found + torch.special.log_ndtr((mean - lower) / deviation)
                continue
            above = torch.special.log_ndtr((lower - mean) / deviation)
            found = found + below + torch.log(-torch.expm1((above - below).clamp_max(-1e-12)))
        return found


def _log_excess(u: Tensor) -> Tensor:
    """Return log E[max(0, u + z)] for a standard normal z, right in the far tail too (Ament et al. 2023)."""
    near, far = u.clamp_min(-5.0), u.clamp(-1e4, -5.0)
    density = torch.exp(-0.5 * near.square()) / math.sqrt(2.0 * math.pi)
    plain = torch.log(density + near * torch.special.ndtr(near))
    ratio = 1.0 + far * math.sqrt(0.5 * math.pi) * torch.special.erfcx(-far / math.sqrt(2.0))
    tail = torch.log(ratio) - 0.5 * u.clamp_max(-5.0).square() - 0.5 * math.log(2.0 * math.pi)
    return torch.where(u > -5.0, plain, tail)


def _lowest(loss: Tensor, among: Tensor) -> Tensor:
    """Return the lowest loss of those `among`, by draw; where there are none, one that any point would improve on.

    Args:
        loss: n_draws x n.
        among: n_draws x n.

    Returns:
        n_draws x 1.
    """
    lowest = loss.where(among, math.inf).min(dim=1, keepdim=True).values
    return lowest.where(among.any(dim=1, keepdim=True), loss.max(dim=1, keepdim=True).values)


def _kept(history: History, objective: Objective) -> np.ndarray:
    """Return the places of at most MAX_ROWS trials, in order."""
    n = len(history)
    if n <= MAX_ROWS:
        return np.arange(n)
    values = history.values(objective.output)
    losses = np.array([objective.loss(v) if math.isfinite(v) else math.inf for v in values.tolist()])
    best = np.argsort(losses, kind="stable")[: MAX_ROWS // 2]
    others = np.setdiff1d(np.arange(n), best)
    return np.sort(np.concatenate([best, others[np.linspace(0, len(others) - 1, MAX_ROWS // 2).round().astype(int)]]))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Turns an output y into z of zero mean and unit spread: (y - shift) / spread, of log y if `log`."""

    shift: float = 0.0
    spread: float = 1.0
    log: bool = False

    @classmethod
    def fit(cls, values: np.ndarray, *, log: bool) -> "_Scale":
        """Return the scale of finite values, maybe none."""
        if len(values) == 0:
            return cls(log=log)
        used = np.log(values) if log else values
        size = float(np.abs(used).max()) or 1.0  # squares overflow
        spread = float(np.std(used / size)) * size
        return cls(float(np.mean(used / size)) * size, spread if spread > 1e-12 * size else 1.0, log)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return z of each value: n."""
        return (np.log(values) if self.log else values) / self.spread - self.shift / self.spread

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """Return how much z changes with the output, at each value: n."""
        return 1.0 / self.spread / (values if self.log else np.ones_like(values))

    def bound(self, value: float) -> float:
        """Return z of a bound on the output; on the log scale a bound at or below zero lies at minus infinity."""
        if self.log:
            return (math.log(value) - self.shift) / self.spread if value > 0.0 else -math.inf
        return (value - self.shift) / self.spread


def _scalings(values: Sequence[np.ndarray], counts: Sequence[bool], *, may_log: bool) -> Iterator[list[_Scale]]:
    """Yield what may turn an output into one of about unit spread, by source; those that count share one.

    All share one, as where a source is about right, or each that informs has its own, as where it has other units. Both
    plainly at every source; and in the logarithm at those that count, where their values span much, and at others that
    are positive.
    """
    there = [v[np.isfinite(v)] for v in values]
    counted = np.concatenate([v for v, c in zip(there, counts, strict=True) if c])
    logs = [[False] * len(there)]
    if may_log and counted.min() > 0.0 and counted.max() / counted.min() > _LOG_RATIO:
        logs.append([c or bool((v > 0.0).all()) for v, c in zip(there, counts, strict=True)])
    for by_source in logs:
        yield [_Scale.fit(counted if c else v, log=log) for v, c, log in zip(there, counts, by_source, strict=True)]
        if not all(counts) and len(set(by_source)) == 1:
            yield [_Scale.fit(np.concatenate(there), log=by_source[0])] * len(there)


def _feasibilities(
    histories: Sequence[History], kept: Sequence[np.ndarray], counts: Sequence[bool], owner: Tensor
) -> list[Feasibility | None]:
    """Return the classifier of each source, None where every trial or none worked; those that count share one."""

    def classifier(of: Sequence[int]) -> Feasibility | None:
        rows = np.concatenate([histories[i].rows()[kept[i]] for i in of])
        works = np.concatenate([histories[i].works()[kept[i]] for i in of])
        if works.all() or not works.any():
            return None
        return fit_feasibility(torch.from_numpy(rows), torch.from_numpy(works), owner)

    counted = classifier([i for i, c in enumerate(counts) if c])
    return [counted if c else classifier([i]) for i, c in enumerate(counts)]
