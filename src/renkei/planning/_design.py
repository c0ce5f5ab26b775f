"""Space-filling designs: an order of points that depends on the space and the seed alone."""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from renkei.errors import UsageError
from renkei.model.space import Observation, Point, Space, Value
from renkei.planning._codec import Codec, Key, decode
from renkei.planning._port import require

Draw = Callable[[int], Sequence[Sequence[float]]]
"""Gives block k of a sequence of points in the unit cube, by column: n_parameters x BLOCK."""

BLOCK = 1024
"""Points in a block; a power of two, for which Sobol points are balanced."""

_COUNTABLE = 2**20
"""Spaces of at most so many points are listed in full where drawing hardly finds new ones."""

_MAX_STEPS = 2**17
"""Spaces of which constraints leave little are listed in full where that takes at most so many steps."""

_N_TRIED = 4096
_FAIR_SHARE = 1 / 64
"""Where constraints hold at less than this share of so many random points, a walk finds points within them."""

_MAX_IDLE = 8
"""After so many blocks without a new point the space counts as exhausted."""


class Design(Protocol):
    """Gives the points of a planner that does not look at outputs."""

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return up to `n` further points; fewer, or none, when the space is exhausted."""
        ...

    def tell(self, observations: Sequence[Observation]) -> None:
        """Count ended trials."""
        ...


def design(space: Space, draw: Draw, seed: int) -> Design:
    """Return the design over `space` that follows `draw`, or a seeded permutation of its pool.

    Where constraints between parameters leave a fair share of the space, they strike points from the sequence. Where
    they leave little or nothing of it, as equations do, points are drawn from a random walk within the constraints, or
    are a seeded permutation of all points where these can be counted.

    Raises:
        UsageError: The space cannot be searched, its constraints leave nothing, or a point of its pool is not of the
            space.
    """
    codec = Codec(space)
    if space.pool is not None:
        if problems := codec.problems(space.pool):
            shown = "; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else "")
            raise UsageError(f"The pool has points that are not of the space: {shown}.")
        return Listing(codec, _shuffled(space.pool, seed))
    n_points = codec.n_points()
    if space.constraints and not _leaves_much(codec, len(space.parameters)):
        if n_points is not None and (listed := codec.listed(_MAX_STEPS)) is not None:
            if not listed:
                raise UsageError("The search space cannot be searched: no point satisfies its constraints.")
            return Listing(codec, _shuffled(listed, seed))
        draw = _walk(space, seed)
    if n_points is not None:
        return Listing(codec, _cells(codec, draw, n_points, seed))
    return Sieve(codec, draw) if space.constraints else Stream(space, draw)


def _leaves_much(codec: Codec, n_parameters: int) -> bool:
    """Return whether constraints hold at so many random points that others can simply be struck out."""
    number = random.Random(0).random  # noqa: S311 - the same points for every seed: a property of the space
    columns = [[number() for _ in range(_N_TRIED)] for _ in range(n_parameters)]
    return sum(map(codec.holds, codec.points(columns))) >= _FAIR_SHARE * _N_TRIED


def _walk(space: Space, seed: int) -> Draw:
    require("numpy", "scipy")
    from renkei.planning._region import Region

    region = Region(space)
    return lambda k: region.walk(BLOCK, derived_seed(seed, "walk", k)).T.tolist()


class Stream:
    """A sequence without end: what comes next depends on how many points were proposed, told or pending."""

    def __init__(self, space: Space, draw: Draw) -> None:
        self._parameters = space.parameters
        self._names = space.names
        self._draw = draw
        self._n_told = 0
        self._blocks: dict[int, list[list[Value]]] = {}

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return points number n_told + n_pending and following."""
        found: list[Point] = []
        index = self._n_told + len(pending)
        while len(found) < n:
            k, start = divmod(index + len(found), BLOCK)
            stop = min(BLOCK, start + n - len(found))
            rows = zip(*[column[start:stop] for column in self._block(k)], strict=True)
            names = self._names
            found += [dict(zip(names, row, strict=True)) for row in rows]
        return found

    def tell(self, observations: Sequence[Observation]) -> None:
        """Count ended trials; nothing else of them is kept."""
        self._n_told += len(observations)

    def _block(self, k: int) -> list[list[Value]]:
        if k not in self._blocks:
            if len(self._blocks) > 1:  # Two: a batch may straddle a boundary again and again.
                del self._blocks[min(self._blocks)]
            self._blocks[k] = [
                decode(parameter, column) for parameter, column in zip(self._parameters, self._draw(k), strict=True)
            ]
        return self._blocks[k]


class Sieve:
    """What constraints leave of a sequence without end, each point once; what comes next depends as in `Stream`."""

    def __init__(self, codec: Codec, draw: Draw) -> None:
        self._codec = codec
        self._draw = draw
        self._n_told = 0
        self._n_blocks = 0
        self._n_idle = 0
        self._left: dict[Key, Point] = {}

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return points number n_told + n_pending and following of those left."""
        index = self._n_told + len(pending)
        while len(self._left) < index + n and self._n_idle < _MAX_IDLE:
            before = len(self._left)
            for point in self._codec.points(self._draw(self._n_blocks)):
                if self._codec.holds(point):
                    self._left.setdefault(self._codec.key(point), point)
            self._n_blocks += 1
            self._n_idle = 0 if len(self._left) > before else self._n_idle + 1
        return [dict(point) for point in itertools.islice(self._left.values(), index, index + n)]

    def tell(self, observations: Sequence[Observation]) -> None:
        """Count ended trials; nothing else of them is kept."""
        self._n_told += len(observations)


class Listing:
    """A list of distinct points: the first that are neither told nor pending come next."""

    def __init__(self, codec: Codec, points: Iterator[Point]) -> None:
        self._codec = codec
        self._coming = self._distinct(points)
        self._listed: list[tuple[Key, Point]] = []
        self._told: set[Key] = set()
        self._first = 0

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """Return the first `n` points that are left, in the order of the list."""
        while (entry := self._entry(self._first)) and entry[0] in self._told:
            self._first += 1
        taken = {self._codec.key(point) for point in pending}
        found: list[Point] = []
        at = self._first
        while len(found) < n and (entry := self._entry(at)):
            if entry[0] not in self._told and entry[0] not in taken:
                found.append(dict(entry[1]))
            at += 1
        return found

    def tell(self, observations: Sequence[Observation]) -> None:
        """Strike the points of ended trials from the list."""
        self._told.update([self._codec.key(o.point) for o in observations])  # all of them or none

    def _entry(self, at: int) -> tuple[Key, Point] | None:
        while at >= len(self._listed):
            entry = next(self._coming, None)
            if entry is None:
                return None
            self._listed.append(entry)
        return self._listed[at]

    def _distinct(self, points: Iterator[Point]) -> Iterator[tuple[Key, Point]]:
        seen: set[Key] = set()
        for point in points:
            if (key := self._codec.key(point)) not in seen:
                seen.add(key)
                yield key, point


def derived_seed(seed: int, *words: object) -> int:
    """Return a seed in [0, 2^31) that depends on `seed` and every word, the same on every machine."""
    text = "/".join(str(word) for word in ("renkei.planning", seed, *words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def _shuffled(points: Sequence[Point], seed: int) -> Iterator[Point]:
    order = list(range(len(points)))
    random.Random(derived_seed(seed, "order")).shuffle(order)  # noqa: S311 - a design, not a secret
    return (points[i] for i in order)


def _cells(codec: Codec, draw: Draw, n_points: int, seed: int) -> Iterator[Point]:
    """Yield points of a countable space where constraints hold: as `draw` visits them, the stragglers at the end."""
    seen: set[Key] = set()
    k = n_idle = 0
    while len(seen) < n_points and n_idle < _MAX_IDLE:
        before = len(seen)
        for point in codec.points(draw(k)):
            if (key := codec.key(point)) not in seen:
                seen.add(key)
                if codec.holds(point):
                    yield point
        k += 1
        n_idle = 0 if len(seen) > before else n_idle + 1
        if len(seen) - before < BLOCK // 16 and n_points <= _COUNTABLE:
            yield from _shuffled([p for p in codec.every_point() if codec.key(p) not in seen], seed)
            return
