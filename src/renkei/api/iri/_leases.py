"""Which workers of a machine are alive: each holds a lock that the kernel frees when its process ends, however it ends.

So whoever looks next knows at once, and no clock has a say in it.
"""

import fcntl
import os
from pathlib import Path


class Leases:
    """The locks of workers, and that of this one, which is held until `close`.

    Args:
        folder: Where they lie; made, for its owner alone, if it is not there.
        worker: The name of this worker; no other ever has it.

    Raises:
        OSError: The lock cannot be made.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        self.worker, self._folder = worker, folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f".{worker}"
        self._lock = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.replace(part, folder / worker)  # it has its name only once it is locked

    def close(self) -> None:
        """Give up the lock of this worker: others see it as ended."""
        self._folder.joinpath(self.worker).unlink(missing_ok=True)
        os.close(self._lock)

    def is_alive(self, worker: str) -> bool:
        """Return whether a worker has not ended; "" is nobody. The lock of one that has is removed."""
        if worker in ("", self.worker):
            return worker != ""
        path = self._folder / worker
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(lock)

    def sweep(self) -> None:
        """Remove the locks of workers that have ended."""
        for lock in self._folder.glob("[!.]*"):
            self.is_alive(lock.name)
