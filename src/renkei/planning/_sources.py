"""Bayesian optimisation over several sources of one truth; torch is imported when a model is first needed."""

import contextlib
import logging
import math
import warnings
from collections.abc import Generator, Iterator, Sequence
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any

from renkei.errors import UsageError, did_you_mean
from renkei.model.space import SOURCE, Constraint, Objective, Observation, Point, Space
from renkei.planning._abandoned import Abandoned
from renkei.planning._codec import Codec, Key
from renkei.planning._costs import Costs
from renkei.planning._design import derived_seed
from renkei.planning._history import History
from renkei.planning._listing import Listed
from renkei.planning._port import Source, require
from renkei.planning._rows import RowCodec
from renkei.planning.sobol import sobol_design

if TYPE_CHECKING:
    from renkei.planning._confined import Confined
    from renkei.planning._source_surrogate import Belief, Gain, SourceSurrogate

_log = logging.getLogger(__name__)

_N_COUNTED = 3
"""So many trials at sources that count are on their way or gave every output before a model is asked,"""

_N_WORKING = 2
"""and so many of them gave every output."""

_MAX_SILENT = 3
"""A source that only informs is asked no more once so many trials there in a row were abandoned."""

_MAX_LISTED = 10_000
"""Discrete spaces of at most so many points are compared point by point, like a pool."""

_N_CANDIDATES = 1024
"""Points of a design from which candidates are made where constraints between parameters hold."""

_MAX_GIVEN_UP = 32
"""Of the points that were abandoned for good only the last are kept in mind by the acquisition."""

_OUTCOMES = ("observed", "infeasible", "abandoned")


class MultiSourcePlanner:
    """Proposes where to try what: at a source that counts, or first at a cheaper or quicker one that only informs.

    Each output is modelled at all sources at once: what a source gives is a share of the truth and a deviation of its
    own, both learned, so a source that tells nothing is soon left alone (Kennedy and O'Hagan 2000; Poloczek, Wang and
    Frazier 2017). The next trial is where the expected gain by cost is largest: at a source that counts, the expected
    improvement on the best confirmed value; at another, how much the trial is expected to raise the best value that is
    believed in (the knowledge gradient; Frazier, Powell and Dayanik 2009). Both times what is known of constraints and
    of where points work at each source.

    The cost of a trial is its price as a share of all sources' prices, plus `time` times its seconds as a share of all
    sources' seconds. Prices and seconds are those of the sources until trials tell others.

    After the initial design no more is spent on sources that only inform than on those that count: where they mislead,
    that loses at most half.

    What a trial is worth is averaged over what pending ones may give, drawn from the model: the first of several at
    the best place may disappoint. While the first trials that count are on their way, a source that informs is
    searched as if it counted. Where a trial that counts is worth most but its source has as many on their way as it
    may, the planner waits: it gives no point. Points of abandoned trials rest and may come again as with
    `BayesianPlanner`. `ask(n)` gives the points of n calls of `ask(1)`, each with the former ones pending. Every
    point says under `SOURCE` where it is to be tried; the points of pending trials and of observations say so, too.
    Those of `warm` that do not are taken as from the first source that counts.

    Args:
        space: What to search. Every point of a pool is compared; so is every point of a discrete space of up to
            10,000 points.
        objectives: One.
        sources: Where points may be tried, each with a name of its own; at least one counts.
        constraints: What outputs must satisfy.
        seed: Same seed and history, same points.
        warm: Observations of earlier campaigns over the same parameters. They do not count as trials and may be
            proposed again.
        initial: Points of the initial design at each source that only informs; by default twice as many as there are
            parameters and two more, at least 6, at most 24.
        time: What waiting is worth, against price.

    Raises:
        UsageError: The space cannot be searched, an objective, a source or an option is wrong, or BoTorch is not
            installed.
    """

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        sources: Sequence[Source],
        *,
        constraints: Sequence[Constraint] = (),
        seed: int = 0,
        warm: Sequence[Observation] = (),
        initial: int | None = None,
        time: float = 1.0,
    ) -> None:
        require("botorch", "torch", "scipy")
        _check(objectives, sources, initial, time)
        self._objective, self._constraints = objectives[0], tuple(constraints)
        self._sources, self._seed, self._costs = tuple(sources), seed, Costs(sources, time)
        self._counts = [source.counts for source in sources]
        self._places = {source.name: place for place, source in enumerate(sources)}
        self._codec, self._rows = Codec(space), RowCodec(space)
        self._space = space
        self._designs = [sobol_design(space, seed) for _ in sources]
        outputs = list(dict.fromkeys([objectives[0].output] + [c.output for c in constraints]))
        self._histories = [History(self._rows, outputs) for _ in sources]
        self._taken: list[dict[Key, list[float]]] = [{} for _ in sources]
        self._abandoned = [Abandoned() for _ in sources]
        self._n_told = [0] * len(sources)
        self._n_silent = [0] * len(sources)
        self._fitted: SourceSurrogate | None = None
        self._confinement: Confined | None = None
        self._n_holding: int | None = None
        self._listed: Listed | None = None
        for (place, _), observation in zip(self._identities(warm, is_warm=True), warm, strict=True):
            if observation.outcome != "abandoned":
                self._histories[place].add(observation)
        wanted = min(24, max(6, 2 * len(space.parameters) + 2)) if initial is None else initial
        self._n_initial = [
            0 if source.counts else max(0, wanted - history.n_works)
            for source, history in zip(sources, self._histories, strict=True)
        ]

    def tell(self, observations: Sequence[Observation]) -> None:
        """Learn from ended trials: from all of them or, where one cannot be used, from none.

        Raises:
            UsageError: A point names no source, lacks a parameter or has an unknown choice, or an outcome is not known.
        """
        for (place, key), observation in zip(self._identities(observations), observations, strict=True):
            self._designs[place].tell([observation])
            row = self._rows.row(observation.point)
            self._n_told[place] += 1
            if observation.outcome == "abandoned":
                self._n_silent[place] += 1
                if not self._abandoned[place].add(key, row, sum(self._n_told)):
                    self._taken[place][key] = row
                continue
            self._taken[place][key] = row
            self._n_silent[place] = 0
            self._histories[place].add(observation)
            self._costs.learn(place, observation)
        self._fitted = None

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return up to `n` points; fewer, or none, when every point of a discrete space or pool is told or pending.

        Or when all sources have as many pending as they may.
        """
        found: list[Point] = []
        while len(found) < n and (point := self._next([*pending, *found])) is not None:
            found.append(point)
        return found

    def confirm(self, pending: Sequence[Point] = ()) -> Point | None:
        """Return the point that is believed to be best of those not tried at a source that counts, at such a source.

        What a campaign ends with. None when every point was tried there.
        """
        waiting = self._waiting(pending)
        place = self._counting(waiting)
        if self._n_counted_works() < _N_WORKING:
            return self._of_design(place, waiting)
        with self._model(derived_seed(self._seed, "confirm", sum(self._n_told) + waiting.n)) as seed:
            surrogate = self._surrogate()
            if (best := self._best(surrogate.belief(), surrogate, place, waiting, seed)) is not None:
                return self._named(best[0], place)
        return self._of_design(place, waiting)

    # ---- what comes next -------------------------------------------------------------------------------------

    def _next(self, pending: Sequence[Point]) -> Point | None:
        waiting = self._waiting(pending)
        for place in self._unfinished(waiting):
            if (point := self._of_design(place, waiting)) is not None:
                return point
        next_point = self._modelled if self._n_counted_works() >= _N_WORKING else self._meanwhile
        with self._model(derived_seed(self._seed, "ask", sum(self._n_told) + waiting.n)) as seed:
            if (point := next_point(waiting, seed)) is not None:
                return point
        place = self._counting(waiting)
        return None if self._is_full(place, waiting) else self._of_design(place, waiting)

    def _unfinished(self, waiting: "_Waiting") -> Iterator[int]:
        """Yield the sources that want another point before there is a model."""
        for place, wanted in enumerate(self._n_initial):
            if self._n_told[place] + len(waiting.keys[place]) < wanted and self._is_open(place, waiting):
                yield place
        n_waiting = sum(len(waiting.keys[place]) for place in self._counting_places)
        if self._n_counted_works() + n_waiting < _N_COUNTED and not self._is_full(self._counting(waiting), waiting):
            yield self._counting(waiting)

    def _meanwhile(self, waiting: "_Waiting", seed: int) -> Point | None:
        """Return a trial at a source that only informs, as if it counted, while the first that count are on their way.

        None where another trial there may not be, or is nowhere.
        """
        from renkei.planning._source_surrogate import SourceSurrogate

        may_inform = self._may_inform(waiting)
        places = [
            place
            for place, history in enumerate(self._histories)
            if not self._counts[place]
            and may_inform[place]
            and self._is_open(place, waiting)
            and 0 < history.n_works < 2 * self._n_initial[place]
        ]
        if not places:
            return None
        place = max(places, key=lambda place: self._histories[place].n_works)
        surrogate = SourceSurrogate([self._histories[place]], [True], self._objective, self._constraints)
        busy = self._busy(place, waiting)
        [gain] = surrogate.acquisitions(self._rows.stacked(busy), [0] * len(busy))
        best = self._best(gain, surrogate, place, waiting, derived_seed(seed, "rows"))
        return None if best is None else self._named(best[0], place)

    def _busy(self, place: int, waiting: "_Waiting") -> list[list[float]]:
        """Return where a source's trials are on their way, or may come again."""
        resting, given_up = self._resting(place), self._abandoned[place].given_up(_MAX_GIVEN_UP)
        return [*waiting.keys[place].values(), *resting.values(), *given_up]

    def _modelled(self, waiting: "_Waiting", seed: int) -> Point | None:
        """Return the trial with the largest gain by cost.

        None when no point is left, or that trial has to wait for others, as every source that counts is full.
        """
        surrogate = self._surrogate()
        busy = [self._busy(place, waiting) for place in range(len(self._sources))]
        rows, places = list(chain(*busy)), [place for place, known in enumerate(busy) for _ in known]
        gains = surrogate.acquisitions(self._rows.stacked(rows), places)
        costs, may_inform = self._costs.each(), self._may_inform(waiting)
        found: list[tuple[float, int, Point]] = []
        must_wait = self._is_full(self._counting(waiting), waiting)
        for place, gain in enumerate(gains):
            if self._counts[place]:
                may_be = must_wait or not self._is_full(place, waiting)
            else:
                may_be = may_inform[place] and self._is_open(place, waiting)
            if may_be and (best := self._best(gain, surrogate, place, waiting, derived_seed(seed, "rows"))) is not None:
                point, value = best
                found.append((value - math.log(costs[place]), place, point))
        if not any(self._counts[place] for _, place, _ in found):
            return None
        _, place, point = max(found, key=lambda each: (each[0], -each[1]))
        return None if self._is_full(place, waiting) else self._named(point, place)

    def _best(
        self, acquisition: "Gain | Belief", surrogate: "SourceSurrogate", place: int, waiting: "_Waiting", seed: int
    ) -> tuple[Point, float] | None:
        """Return the point where an acquisition is largest of those not tried at a source, and how large."""
        from renkei.planning._search import Search

        search = Search(acquisition, surrogate.n_rows + waiting.n, 1)
        known, resting = {**self._taken[place], **waiting.keys[place]}, self._resting(place)
        if self._is_listed:
            listed = self._listing()
            rested, left = listed.left([*known, *resting]), listed.left(known)
            left = rested if len(rested) else left
            if not len(left):
                return None
            values = search.values(listed.rows[left])
            best = int(values.argmax())
            return listed.points[int(left[best])], float(values[best])
        taken = self._rows.stacked([*known.values(), *resting.values()])
        row = search.best_row(self._rows, surrogate.best_rows, taken, seed, self._confined())
        if row is None:
            return None
        return self._rows.points(row[None])[0], float(search.values(row[None])[0])

    def _of_design(self, place: int, waiting: "_Waiting") -> Point | None:
        """Return the next point of a source's initial design; where it counts, one that is good at another source."""
        if self._counts[place] and (point := self._promising(place, waiting)) is not None:
            return self._named(point, place)
        pending = waiting.points[place]
        return next((self._named(point, place) for point in self._designs[place].ask(1, pending)), None)

    def _promising(self, place: int, waiting: "_Waiting") -> Point | None:
        """Return the best point of a source that only informs or, once that is taken, one of the better half far off.

        None where no such source has given enough to say.
        """
        informing = [h for h, counts in zip(self._histories, self._counts, strict=True) if not counts]
        history = max(informing, key=lambda h: h.n_works, default=None)
        if history is None or history.n_works < _N_COUNTED:
            return None
        works = history.works()
        losses = [self._objective.loss(value) for value in history.values(self._objective.output)[works].tolist()]
        order = sorted(range(len(losses)), key=losses.__getitem__)[: (len(losses) + 1) // 2]
        rows = history.rows()[works][order]
        taken = [
            row
            for p in self._counting_places
            for known in (self._taken[p], waiting.keys[p], self._resting(p))
            for row in known.values()
        ]
        if not taken:
            return self._rows.points(rows[:1])[0]
        apart = abs(rows[:, None, :] - self._rows.stacked(taken)).sum(axis=2).min(axis=1)
        at = int(apart.argmax())
        return self._rows.points(rows[at : at + 1])[0] if apart[at] > 1e-6 else None

    # ---- what it costs ---------------------------------------------------------------------------------------

    def _may_inform(self, waiting: "_Waiting") -> list[bool]:
        """Return for each source whether another trial there keeps what only informs at no more than what counts."""
        costs = self._costs.each()
        spent = [
            cost * max(0, told + len(keys) - wanted)
            for cost, told, keys, wanted in zip(costs, self._n_told, waiting.keys, self._n_initial, strict=True)
        ]
        counted = sum(spent[place] for place in self._counting_places)
        return [sum(spent) - counted + cost <= counted for cost in costs]

    # ---- small things ----------------------------------------------------------------------------------------

    def _resting(self, place: int) -> dict[Key, list[float]]:
        """Return the points that were abandoned lately at a source."""
        return self._abandoned[place].resting(sum(self._n_told))

    def _is_silent(self, place: int) -> bool:
        """Whether a source gave nothing the last few times: it may be closed, and must not be asked for ever."""
        return self._n_silent[place] >= _MAX_SILENT

    def _is_full(self, place: int, waiting: "_Waiting") -> bool:
        """Whether as many trials of a source are on their way as may be."""
        limit = self._sources[place].parallel
        return limit is not None and len(waiting.points[place]) >= limit

    def _is_open(self, place: int, waiting: "_Waiting") -> bool:
        return not self._is_silent(place) and not self._is_full(place, waiting)

    @property
    def _counting_places(self) -> list[int]:
        return [place for place, counts in enumerate(self._counts) if counts]

    def _counting(self, waiting: "_Waiting") -> int:
        """Return the source that counts where a trial costs least; of those that cost the same, the least busy.

        One that is full only where all are.
        """
        costs = self._costs.each()

        def order(place: int) -> tuple[bool, float, int, int]:
            return self._is_full(place, waiting), costs[place], len(waiting.keys[place]), place

        return min(self._counting_places, key=order)

    def _n_counted_works(self) -> int:
        return sum(self._histories[place].n_works for place in self._counting_places)

    def _waiting(self, pending: Sequence[Point]) -> "_Waiting":
        waiting = _Waiting(len(self._sources))
        for point in pending:
            place, bare = self._split(point)
            waiting.points[place].append(bare)
            waiting.keys[place][self._codec.key(bare)] = self._rows.row(bare)
        return waiting

    def _split(self, point: Point, *, is_warm: bool = False) -> tuple[int, Point]:
        """Return the place of a point's source, and the point without it."""
        bare = {name: value for name, value in point.items() if name != SOURCE}
        name = point.get(SOURCE)
        if name is None and is_warm:
            return self._counts.index(True), bare
        if name not in self._places:
            raise UsageError(
                f"A planner with several sources cannot use a point of source '{name}'."
                f"{did_you_mean(str(name), self._places)}",
                f"Its sources: {', '.join(self._places)}. Points name theirs under '{SOURCE}'.",
            )
        return self._places[str(name)], bare

    def _named(self, point: Point, place: int) -> Point:
        return {**point, SOURCE: self._sources[place].name}

    def _identities(self, observations: Sequence[Observation], *, is_warm: bool = False) -> list[tuple[int, Key]]:
        """Return each point's source and identity, all of them or, where one observation cannot be used, none."""
        found: list[tuple[int, Key]] = []
        for observation in observations:
            if observation.outcome not in _OUTCOMES:
                raise UsageError(
                    f"A planner does not know the outcome '{observation.outcome}'.",
                    f"Known outcomes: {', '.join(_OUTCOMES)}.",
                )
            place, bare = self._split(observation.point, is_warm=is_warm)
            found.append((place, self._codec.key(bare)))
        return found

    @contextlib.contextmanager
    def _model(self, seed: int) -> Generator[int]:
        """Run models; where they fail numerically, what is inside ends early and a warning is logged."""
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("ignore")
            import_module("renkei.planning._search")
            import_module("renkei.planning._source_surrogate")
        from renkei.planning._surrogate import NUMERICAL_FAULTS, alone

        try:
            with alone(seed):
                yield seed
        except NUMERICAL_FAULTS as error:
            _log.warning("No model after %d trials, a point of the design instead: %s", sum(self._n_told), error)

    def _confined(self) -> "Confined | None":
        """Return where constraints between parameters hold, None where there are none."""
        if self._confinement is None and self._space.constraints:
            from renkei.planning._confined import Confined

            points = sobol_design(self._space, derived_seed(self._seed, "candidates")).ask(_N_CANDIDATES)
            self._confinement = Confined(self._space, self._rows, self._rows.rows(points))
        return self._confinement

    def _surrogate(self) -> "SourceSurrogate":
        from renkei.planning._source_surrogate import SourceSurrogate

        if self._fitted is None:
            self._fitted = SourceSurrogate(self._histories, self._counts, self._objective, self._constraints)
        return self._fitted

    @property
    def _is_listed(self) -> bool:
        if self._space.pool is not None:
            return True
        if self._n_holding is None:
            self._n_holding = self._codec.n_holding(_MAX_LISTED)
        return self._n_holding <= _MAX_LISTED

    def _listing(self) -> Listed:
        """Return the distinct points that are compared one by one."""
        if self._listed is None:
            every = self._codec.every_point() if self._space.pool is None else self._space.pool
            self._listed = Listed(every, self._codec, self._rows)
        return self._listed


class _Waiting:
    """Pending points by source: as they are, without their source's name, and as rows by identity."""

    def __init__(self, n_sources: int) -> None:
        self.points: list[list[Point]] = [[] for _ in range(n_sources)]
        self.keys: list[dict[Key, list[float]]] = [{} for _ in range(n_sources)]

    @property
    def n(self) -> int:
        return sum(len(points) for points in self.points)


def _check(objectives: Sequence[Objective], sources: Sequence[Source], initial: int | None, time: Any) -> None:
    if len(objectives) != 1:
        raise UsageError(
            f"A planner with several sources takes one objective, found {len(objectives)}.",
            "Give the campaign one objective and make constraints of the others, or sources that all count.",
        )
    objective = objectives[0]
    if objective.goal not in ("minimize", "maximize", "target"):
        raise UsageError(f"{objective.output}: no goal is named '{objective.goal}'.")
    if objective.goal == "target" and objective.target is None:
        raise UsageError(f"{objective.output}: a target goal needs its target.")
    if len({source.name for source in sources}) < len(sources):
        raise UsageError("Two sources have the same name.")
    if not any(source.counts for source in sources):
        raise UsageError("None of the sources counts.", "Let the one whose results the campaign is after count.")
    for source in sources:
        if not (math.isfinite(source.price) and source.price > 0):
            raise UsageError(f"Source '{source.name}': found price {source.price}, expected one above 0.")
        if not (math.isfinite(source.seconds) and source.seconds >= 0):
            raise UsageError(f"Source '{source.name}': found seconds {source.seconds}, expected 0 or more.")
        if source.parallel is not None and source.parallel < 1:
            raise UsageError(f"Source '{source.name}': found parallel {source.parallel}, expected at least 1.")
    if initial is not None and (type(initial) is not int or initial < 1):
        raise UsageError(f"Option initial: found {initial!r}, expected a whole number of at least 1.")
    if isinstance(time, bool) or not isinstance(time, int | float) or not (math.isfinite(time) and time >= 0):
        raise UsageError(f"Option time: found {time!r}, expected a number of at least 0.")
