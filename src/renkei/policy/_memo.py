"""A small memory of answers."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Remembers at most `limit` answers; when it is full it forgets all and begins again."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._kept: dict[K, V] = {}

    def get(self, key: K, work_out: Callable[[], V]) -> V:
        """Return the answer for `key`, worked out on the first time."""
        kept = self._kept.get(key)
        if kept is None:
            kept = work_out()
            if len(self._kept) >= self._limit:
                self._kept.clear()
            self._kept[key] = kept
        return kept
