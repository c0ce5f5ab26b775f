"""What belongs to the whole process and must be as it was after a package of others was called."""

import contextlib
import io
import logging
import random
import sys
import warnings
from collections.abc import Generator, Sequence
from importlib import import_module
from threading import RLock, get_ident
from typing import Any, TextIO

import numpy as np
from threadpoolctl import threadpool_limits

_TURN = RLock()


@contextlib.contextmanager
def surroundings(packages: Sequence[str], seed: int, *, muted: bool = False) -> Generator[None]:
    """Give the block random numbers of its own, on one thread of BLAS and torch, and let `packages` say nothing.

    Random numbers of `random`, numpy and, where it is imported, torch are drawn from `seed`. Their states and the rest
    are restored. If `muted`, nothing that the block prints is seen. All of this belongs to the process, so threads take
    turns.
    """
    with _TURN, contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("ignore")
        for package in packages:
            import_module(package)
            stack.enter_context(_silent(logging.getLogger(package)))
        stack.enter_context(threadpool_limits(limits=1, user_api="blas"))  # more wait for each other
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        random.seed(seed)
        np.random.seed(seed)
        if torch := sys.modules.get("torch"):
            stack.enter_context(_torch(torch, seed))
        if muted:
            stack.enter_context(contextlib.redirect_stdout(_Muted(sys.stdout)))
        yield


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Generator[None]:
    """Keep what `logger` and those below it say from being shown; they may have levels of their own."""
    handlers = [(handler, handler.level) for handler in logger.handlers]
    propagate = logger.propagate
    logger.propagate = False
    for handler, _ in handlers:
        handler.setLevel(logging.CRITICAL)
    nobody = logging.NullHandler()  # or Python's last resort speaks
    logger.addHandler(nobody)
    try:
        yield
    finally:
        logger.removeHandler(nobody)
        logger.propagate = propagate
        for handler, level in handlers:
            handler.setLevel(level)


@contextlib.contextmanager
def _torch(torch: Any, seed: int) -> Generator[None]:
    with torch.random.fork_rng(devices=[]):
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)


class _Muted(io.TextIOBase):
    """A text stream that drops what the thread writes that made it; what others write goes through."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = get_ident()

    def write(self, text: str, /) -> int:
        return len(text) if get_ident() == self._thread else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
