"""Paths below the root of a storage resource, and nothing beside it.

A path of the API is absolute below the root: "/" is the root itself, and "a/b" is the same as "/a/b". It is walked
here, name by name, each name opened in the descriptor of the folder before it and never followed by the kernel, so that
nothing that is renamed or replaced meanwhile can lead outside. Links are followed by hand, when they stay below the
root; ".." goes back along the way that was come. What the walk ends at is held by a descriptor, and whatever is done
to it is done through that descriptor.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from renkei.errors import Denied, RenkeiError, UsageError

PATH_BYTES = 4096
"""The longest path that is taken."""
NAME_BYTES = 255
"""The longest name in it."""
LINKS_MAX = 40
"""How many links are followed on one walk."""
DEPTH_MAX = 64
"""How deep a path may lead: each step holds a descriptor."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ANY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Entry:
    """Where a path leads: a folder, held open, and a name in it.

    Valid until the walk's context ends.

    Args:
        path: The path in the API's words, with every link resolved but, where it was not to be followed, the last.
        folder: The descriptor of the folder that it is in; that of the root itself for the root.
        name: Its name there; "." for the root.
        handle: A descriptor (O_PATH) of what is there; -1 where there is nothing.
        stat: What is there; None where there is nothing.
    """

    path: str
    folder: int
    name: str
    handle: int = -1
    stat: os.stat_result | None = None

    @property
    def is_root(self) -> bool:
        """Whether it is the root itself."""
        return self.name == "."

    @property
    def found(self) -> os.stat_result:
        """What is there.

        Raises:
            UsageError: Nothing is.
        """
        if self.stat is None:
            raise UsageError(f"'{shown(self.path)}' does not exist.", "List its folder with ls.")
        return self.stat

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.stat is not None and stat.S_ISDIR(self.stat.st_mode)

    @property
    def by_handle(self) -> str:
        """A path that leads to exactly what `handle` holds, for calls that take no descriptor."""
        return f"/proc/self/fd/{self.handle}"

    def open_file(self) -> int:
        """Return a descriptor to read the regular file from; the caller closes it.

        Raises:
            UsageError: It is not a regular file, or is not there.
            OSError: It may not be read.
        """
        if not stat.S_ISREG(self.found.st_mode):
            raise UsageError(f"'{shown(self.path)}' is a {kind_of(self.found.st_mode)}, not a file.")
        return os.open(self.by_handle, os.O_RDONLY | os.O_CLOEXEC)

    def open_folder(self) -> int:
        """Return a descriptor to read the folder from; the caller closes it.

        Raises:
            UsageError: It is not a folder, or is not there.
            OSError: It may not be read.
        """
        if not self.is_folder:
            raise UsageError(f"'{shown(self.path)}' is a {kind_of(self.found.st_mode)}, not a folder.")
        return os.open(".", _FOLDER, dir_fd=self.handle)


class Root:
    """The root of a storage resource. Methods block, and any thread may call them.

    Args:
        path: The folder on this machine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def find(self, path: str, *, follow: bool = True, may_lack: bool = False) -> Generator[Entry]:
        """Walk a path.

        Args:
            path: The path in the API's words.
            follow: Whether a link at its end is followed.
            may_lack: Whether its last name may be of something that is not there yet.

        Raises:
            UsageError: The path is malformed, or something on it is missing, is no folder or may not be entered.
            Denied: It leads outside the root.
        """
        walk = _Walk(self.path, path)
        try:
            yield walk.to_end(follow=follow, may_lack=may_lack)
        finally:
            walk.close()


class _Walk:
    """One walk along a path: the folders on the way, and the names still to go."""

    def __init__(self, root: Path, path: str) -> None:
        self._root, self._path = root, path
        self._left = deque(parts_of(path))
        self._links = 0
        try:
            top = os.open(root, _FOLDER)
        except OSError as error:
            raise UsageError(
                "The resource's root cannot be opened.", "Ask the site: is its storage mounted?"
            ) from error
        self._way: list[tuple[str, int]] = [("", top)]
        self._end = -1

    def to_end(self, *, follow: bool, may_lack: bool) -> Entry:
        while self._left:
            name = self._left.popleft()
            if name == "..":
                self._back()
                continue
            is_last = not self._left
            try:
                handle = self._end = os.open(name, _ANY, dir_fd=self._folder)
            except FileNotFoundError:
                if is_last and may_lack:
                    return Entry(self._joined(name), self._folder, name)
                raise UsageError(f"'{shown(self._joined(name))}' does not exist.", "List its folder with ls.") from None
            except OSError as error:
                raise problem_of(error, self._joined(name)) from error
            found = os.fstat(handle)
            if stat.S_ISLNK(found.st_mode) and (follow or not is_last):
                self._follow(name, handle)
            elif is_last:
                return Entry(self._joined(name), self._folder, name, handle, found)
            elif stat.S_ISDIR(found.st_mode):
                self._way.append((name, handle))
                self._end = -1
                if len(self._way) > DEPTH_MAX:
                    raise UsageError(f"The path leads deeper than {DEPTH_MAX} folders.")
            else:
                raise UsageError(f"'{shown(self._joined(name))}' is a {kind_of(found.st_mode)}, not a folder.")
        name, handle = self._way[-1]
        if len(self._way) == 1:
            return Entry("/", handle, ".", handle, os.fstat(handle))
        way = "/".join(name for name, _ in self._way)
        return Entry(way, self._way[-2][1], name, handle, os.fstat(handle))

    @property
    def _folder(self) -> int:
        return self._way[-1][1]

    def _joined(self, name: str) -> str:
        return "/".join([*(step for step, _ in self._way), name])

    def close(self) -> None:
        """Close every descriptor that the walk holds."""
        if self._end >= 0:
            os.close(self._end)
        self._back_to(0)

    def _back_to(self, n: int) -> None:
        while len(self._way) > n:
            os.close(self._way.pop()[1])

    def _back(self) -> None:
        if len(self._way) == 1:
            raise Denied(f"'{shown(self._path)}' leads out of the resource.", "Paths begin at the resource's root, /.")
        self._back_to(len(self._way) - 1)

    def _follow(self, name: str, handle: int) -> None:
        self._links += 1
        if self._links > LINKS_MAX:
            raise UsageError(f"'{shown(self._path)}' goes over more than {LINKS_MAX} links.", "Do they go in a circle?")
        target = os.readlink("", dir_fd=handle)
        os.close(handle)
        self._end = -1
        if target.startswith("/"):
            below = self._below_root(target)
            if below is None:
                raise Denied(f"The link '{shown(self._joined(name))}' points out of the resource.")
            self._back_to(1)
            self._left.extendleft(reversed(below))
        else:
            self._left.extendleft(reversed(_split(target)))

    def _below_root(self, target: str) -> list[str] | None:
        """Return the names below the root on the way to a path of this machine; None where it does not begin there."""
        names = _split(target)
        for root in {str(self._root), os.path.realpath(self._root)}:
            head = _split(root)
            if names[: len(head)] == head:
                return names[len(head) :]
        return None


def _split(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def parts_of(path: str) -> list[str]:
    """Return the names in a path of the API, ".." included.

    Raises:
        UsageError: No file can have such a path.
    """
    if not path:
        raise UsageError("The path is empty.", "Name one below the resource's root, for example /data/run.h5.")
    if "\0" in path:
        raise UsageError("The path has a NUL character.")
    try:
        raw = path.encode()
    except UnicodeEncodeError as error:
        raise UsageError("The path is not valid Unicode.") from error
    if len(raw) > PATH_BYTES:
        raise UsageError(f"The path has {len(raw)} bytes, and {PATH_BYTES} is the most.")
    names = _split(path)
    if any(len(name.encode()) > NAME_BYTES for name in names):
        raise UsageError(f"A name in the path has more than {NAME_BYTES} bytes.")
    return names


_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def kind_of(mode: int) -> str:
    """Return what a thing with this `st_mode` is, for example "file" or "directory"."""
    return _KINDS.get(stat.S_IFMT(mode), "special file")


def shown(name: str) -> str:
    """Return a name or path as text that can always be written as UTF-8; bytes that are none become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


_REASONS = {
    errno.EACCES: "the site's user may not do that to '{path}'",
    errno.EPERM: "the site's user may not do that to '{path}'",
    errno.EROFS: "'{path}' is on storage that is mounted read-only",
    errno.ENOSPC: "there is no space left at '{path}'",
    errno.EDQUOT: "the quota is used up at '{path}'",
    errno.EEXIST: "'{path}' exists already",
    errno.ENOTEMPTY: "the folder '{path}' is not empty",
    errno.ENOENT: "'{path}' does not exist",
    errno.ENOTDIR: "'{path}' is not a folder",
    errno.EISDIR: "'{path}' is a folder",
    errno.ELOOP: "'{path}' is a link",
    errno.ENAMETOOLONG: "'{path}' is too long for this storage",
    errno.EXDEV: "'{path}' is on another file system; copy it and remove the original",
    errno.EINVAL: "that is not possible with '{path}'",
}


def problem_of(error: OSError, path: str) -> RenkeiError:
    """Return what an error of the operating system means at a path of the API; no path of this machine is in it."""
    reason = _REASONS.get(error.errno or 0, (error.strerror or "it failed") + " at '{path}'").format(path=shown(path))
    message = f"{reason[:1].upper()}{reason[1:]}."
    return Denied(message) if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else UsageError(message)
