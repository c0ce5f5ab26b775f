"""What every filesystem operation works with: its root, its limits, and ways to read folders and to write files."""

import grp
import os
import pwd
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec

from renkei.api.iri._paths import DEPTH_MAX, Entry, Root, kind_of, problem_of, shown
from renkei.errors import UsageError

SMALL_BYTES = 5 << 20
"""The most that one answer carries of a file, and one upload."""
BLOCK_BYTES = 1 << 18
"""How much is read at once; in between, a task can be stopped."""

_ANY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Limits(msgspec.Struct, frozen=True):
    """What one operation may grow to.

    Args:
        listed: How many entries a list may have.
        entries: How many files an archive may have, or a tree that is copied.
        archive_bytes: How much may come out of an archive.
    """

    listed: int = 20_000
    entries: int = 100_000
    archive_bytes: int = 10 << 30


class Names:
    """Names of users and groups, each looked up once."""

    def __init__(self, *, is_numeric: bool = False) -> None:
        self._is_numeric = is_numeric
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def user(self, uid: int) -> str:
        """Return a user's name, or the number where it has none."""
        if uid not in self._users:
            self._users[uid] = str(uid)
            if not self._is_numeric:
                try:
                    self._users[uid] = pwd.getpwuid(uid).pw_name
                except KeyError:
                    pass  # it has none
        return self._users[uid]

    def group(self, gid: int) -> str:
        """Return a group's name, or the number where it has none."""
        if gid not in self._groups:
            self._groups[gid] = str(gid)
            if not self._is_numeric:
                try:
                    self._groups[gid] = grp.getgrgid(gid).gr_name
                except KeyError:
                    pass  # it has none
        return self._groups[gid]


@dataclass(frozen=True)
class Work:
    """One operation at work.

    Args:
        root: The resource's root.
        check: Raises when the operation shall stop; called often.
        part: A name for a file that is not finished, in whichever folder.
        limits: What it may grow to.
        content: What came with the request, for upload.
        names: Names of users and groups.
    """

    root: Root
    check: Callable[[], None]
    part: str
    limits: Limits = field(default_factory=Limits)
    content: bytes = b""
    names: Names = field(default_factory=Names)


class File(msgspec.Struct, frozen=True):
    """A file as answers show it.

    Args:
        name: Its name; in recursive lists, its path below the folder that is listed.
        type: What it is, for example "file" or "directory".
        link_target: Where a link points, as it is written in it.
        user: Its owner.
        group: Its group.
        permissions: As ls shows them, for example "rwxr-xr-x".
        last_modified: When its content last changed.
        size: Bytes, as text.
    """

    name: str
    type: str
    link_target: str | None
    user: str
    group: str
    permissions: str
    last_modified: str
    size: str


def file_at(entry: Entry, name: str, names: Names) -> File:
    """Return a file as answers show it; `name` is what to call it."""
    found = entry.found
    target = os.readlink("", dir_fd=entry.handle) if stat.S_ISLNK(found.st_mode) else None
    return File(
        name=shown(name),
        type=kind_of(found.st_mode),
        link_target=None if target is None else shown(target),
        user=names.user(found.st_uid),
        group=names.group(found.st_gid),
        permissions=stat.filemode(found.st_mode)[1:],
        last_modified=_moment(found.st_mtime),
        size=str(found.st_size),
    )


def _moment(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # files may have any time, that of no calendar too
        moment = datetime.fromtimestamp(0, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def file_in(work: Work, folder: int, name: str, path: str) -> File:
    """Return what is now at a name in a folder, as answers show it."""
    with failing(path):
        handle = os.open(name, _ANY, dir_fd=folder)
        try:
            return file_at(Entry(path, folder, name, handle, os.fstat(handle)), path, work.names)
        finally:
            os.close(handle)


@contextmanager
def failing(path: str) -> Generator[None]:
    """Turn errors of the operating system into what they mean at a path of the API."""
    try:
        yield
    except OSError as error:
        raise problem_of(error, path) from error


def children(work: Work, folder: Entry, *, dereference: bool = False, depth: int = 0) -> Iterator[Entry]:
    """Yield what is in a folder, by name; each is valid until the next.

    Args:
        work: The operation.
        folder: The folder.
        dereference: Whether what a link leads to is yielded in its place, under the link's name and path.
        depth: How deep the folder is below where the operation began.

    Raises:
        UsageError: It is too deep, or a link leads nowhere.
        Denied: It may not be read, or a link leads out of the root.
    """
    if depth > DEPTH_MAX:
        raise UsageError(f"'{shown(folder.path)}' is deeper than {DEPTH_MAX} folders.", "Begin further down.")
    with failing(folder.path):
        opened = folder.open_folder()
    try:
        with failing(folder.path):
            names = sorted(os.listdir(opened))  # noqa: PTH208 - of a descriptor, not of a path
        for name in names:
            work.check()
            path = f"{folder.path.rstrip('/')}/{name}"
            try:
                handle = os.open(name, _ANY, dir_fd=opened)
            except FileNotFoundError:
                continue  # gone since
            except OSError as error:
                raise problem_of(error, path) from error
            try:
                child = Entry(path, opened, name, handle, os.fstat(handle))
                if dereference and stat.S_ISLNK(child.found.st_mode):
                    with work.root.find(path) as end:
                        yield replace(child, handle=end.handle, stat=end.stat)
                else:
                    yield child
            finally:
                os.close(handle)
    finally:
        os.close(opened)


class Trail:
    """The folders that an operation is in, so that links cannot lead it in a circle; and how much it has seen."""

    def __init__(self, most: int) -> None:
        self._most, self._n = most, 0
        self._inside: set[tuple[int, int]] = set()

    @contextmanager
    def within(self, folder: Entry) -> Generator[None]:
        """Be in a folder for the time of the block.

        Raises:
            UsageError: It is in it already.
        """
        key = folder.found.st_dev, folder.found.st_ino
        if key in self._inside:
            raise UsageError(f"The link '{shown(folder.path)}' leads in a circle.")
        self._inside.add(key)
        try:
            yield
        finally:
            self._inside.discard(key)

    def count(self, n: int = 1) -> None:
        """Count what was seen.

        Raises:
            UsageError: It is more than an operation may grow to.
        """
        self._n += n
        if self._n > self._most:
            raise UsageError(f"There are more than {self._most} entries.", "Take one of the folders inside at a time.")


@contextmanager
def written(work: Work, folder: int, name: str, path: str, *, mode: int = 0o666) -> Generator[BinaryIO]:
    """Write a file that has its name only when it is whole and on disk; what was there before is replaced.

    Args:
        work: The operation.
        folder: Where.
        name: Its name there.
        path: What the API calls it.
        mode: Its permissions, but for what the site's umask takes away.

    Raises:
        RenkeiError: It cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with failing(path):
        try:
            os.unlink(work.part, dir_fd=folder)  # of the same task, before the site stopped
        except FileNotFoundError:
            pass
        part = os.open(work.part, flags, mode & 0o777, dir_fd=folder)
    try:
        with os.fdopen(part, "wb") as file:
            yield file
            with failing(path):
                file.flush()
                os.fsync(file.fileno())
        with failing(path):
            os.rename(work.part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        try:
            os.unlink(work.part, dir_fd=folder)
        except OSError:
            pass  # it is gone, or cannot be removed either
        raise


def put(work: Work, folder: int, name: str) -> None:
    """Give what was made under the name `work.part` its name; what was there before is replaced.

    Raises:
        OSError: That cannot be; then it is removed.
    """
    try:
        os.rename(work.part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(work.part, dir_fd=folder)
        raise


@contextmanager
def reading(entry: Entry) -> Generator[int]:
    """Open a regular file for reading; yields its descriptor."""
    with failing(entry.path):
        opened = entry.open_file()
    try:
        yield opened
    finally:
        os.close(opened)


def blocks(work: Work, opened: int, at: int = 0, n: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of an open file from a position, at most `n` of them, in blocks."""
    while n is None or n > 0:
        work.check()
        block = os.pread(opened, BLOCK_BYTES if n is None else min(n, BLOCK_BYTES), at)
        if not block:
            return
        yield block
        at += len(block)
        n = None if n is None else n - len(block)
