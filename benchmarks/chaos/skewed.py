"""Runs the renkei command line with a clock that is wrong: `python skewed.py OFFSET_S DRIFT ARGUMENTS…`.

Only the wall clock that renkei reads is moved; files and other programs keep the machine's time, as they do on two
machines whose clocks differ.
"""

import sys
import time


def main(offset_s: float, drift: float, arguments: list[str]) -> None:
    """Move the clock and run a command.

    Args:
        offset_s: How far the clock is ahead at first, in seconds.
        drift: How many seconds it gains each second.
        arguments: Of the command line.
    """
    from renkei.cli import main as renkei
    from renkei.clock import SystemClock

    began = time.monotonic()

    def now(self: SystemClock) -> float:
        del self
        return time.time() + offset_s + drift * (time.monotonic() - began)

    SystemClock.now = now
    sys.argv = ["renkei", *arguments]
    sys.exit(renkei())


if __name__ == "__main__":
    del sys.path[0]  # this folder's modules are not to be found by those who import by name
    main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
