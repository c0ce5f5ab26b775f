"""Filesystem operations that change something.

Links are judged when they are followed: moving or copying one leaves its text as it is.
"""

import grp
import os
import pwd
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager

from renkei.api.iri._fileargs import Chmod, Chown, Copy, Link, MakeFolder, Move, OfPath, is_set
from renkei.api.iri._filework import (
    File,
    Trail,
    Work,
    blocks,
    children,
    failing,
    file_in,
    put,
    reading,
    written,
)
from renkei.api.iri._paths import DEPTH_MAX, Entry, Root, kind_of, parts_of, problem_of, shown
from renkei.errors import Denied, UsageError

_MODE = re.compile(r"0?[0-7]{3}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def chmod(work: Work, asked: Chmod) -> File:
    """Set the permissions of a file or folder."""
    if not _MODE.fullmatch(asked.mode):
        raise UsageError(
            f"'{shown(asked.mode[:20])}' is no mode.", "Give three octal digits, for example 640; setuid is not given."
        )
    with work.root.find(asked.source) as entry:
        entry.found  # noqa: B018 - raises where there is nothing
        _not_the_root(entry)
        with failing(entry.path):
            os.chmod(entry.by_handle, int(asked.mode, 8))  # noqa: PTH101 - by descriptor, so to what was found
        return file_in(work, entry.folder, entry.name, entry.path)


def chown(work: Work, asked: Chown) -> File:
    """Give a file or folder to another owner or group, where the site's user may."""
    if not asked.owner and not asked.group:
        raise UsageError("Neither an owner nor a group is given.")
    uid = gid = -1
    try:
        if asked.owner:
            uid = pwd.getpwnam(asked.owner).pw_uid
        if asked.group:
            gid = grp.getgrnam(asked.group).gr_gid
    except (KeyError, ValueError) as error:
        raise UsageError("There is no such owner or group here.") from error
    with work.root.find(asked.source) as entry:
        entry.found  # noqa: B018 - raises where there is nothing
        _not_the_root(entry)
        with failing(entry.path):
            os.chown(entry.by_handle, uid, gid)
        return file_in(work, entry.folder, entry.name, entry.path)


def mkdir(work: Work, asked: MakeFolder) -> File:
    """Make a folder, and with `parent` those on the way to it that are missing."""
    parts = parts_of(asked.source)
    if not parts:
        raise UsageError("'/' exists already.")
    may_exist = is_set(asked.parent)
    for n in range(1 if may_exist else len(parts), len(parts) + 1):
        work.check()
        with work.root.find("/".join(parts[:n]), follow=may_exist, may_lack=True) as entry:
            if entry.stat is None:
                try:
                    os.mkdir(entry.name, 0o777, dir_fd=entry.folder)
                except FileExistsError:
                    if not may_exist:
                        raise UsageError(f"'{shown(entry.path)}' exists already.") from None
                except OSError as error:
                    raise problem_of(error, entry.path) from error
            elif not may_exist or not entry.is_folder:
                raise UsageError(f"'{shown(entry.path)}' exists already.")
            if n == len(parts):
                return file_in(work, entry.folder, entry.name, entry.path)
    raise AssertionError


def symlink(work: Work, asked: Link) -> File:
    """Make a link to something below the root; it is relative, so that it means the same on the site's machines."""
    with (
        work.root.find(asked.source, follow=False) as end,
        work.root.find(asked.link_path, follow=False, may_lack=True) as link,
    ):
        end.found  # noqa: B018 - raises where there is nothing
        text = os.path.relpath(end.path, os.path.dirname(link.path))  # noqa: PTH120 - a path of the API
        with failing(link.path):
            os.symlink(text, link.name, dir_fd=link.folder)
        return file_in(work, link.folder, link.name, link.path)


def upload(work: Work, asked: OfPath) -> str:
    """Write a small file; one that is there already is replaced in one step and keeps its permissions."""
    with work.root.find(asked.path, may_lack=True) as entry:
        may_be_written(entry)
        mode = 0o666 if entry.stat is None else entry.stat.st_mode
        with written(work, entry.folder, entry.name, entry.path, mode=mode) as file:
            file.write(work.content)
        return f"{len(work.content)} bytes were written to '{shown(entry.path)}'."


def rm(work: Work, asked: OfPath) -> str:
    """Remove a file, a link or a folder with all that is in it."""
    with work.root.find(asked.path, follow=False) as entry:
        entry.found  # noqa: B018 - raises where there is nothing
        _not_the_root(entry)
        with failing(entry.path):
            if entry.is_folder:
                n = _remove_folder(work, entry.folder, entry.name, 0)
            else:
                os.unlink(entry.name, dir_fd=entry.folder)
                n = 1
        return f"'{shown(entry.path)}' was removed: {n} in all."


def _remove_folder(work: Work, folder: int, name: str, depth: int) -> int:
    """Remove a folder; return how many files, links and folders that were."""
    if depth > DEPTH_MAX:
        raise UsageError(f"'{shown(name)}' is deeper than {DEPTH_MAX} folders.", "Begin further down.")
    n = 1
    opened = os.open(name, _FOLDER, dir_fd=folder)
    try:
        with os.scandir(opened) as entries:
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_folder in inside:
            work.check()
            if is_folder:
                n += _remove_folder(work, opened, child, depth + 1)
            else:
                os.unlink(child, dir_fd=opened)
                n += 1
    finally:
        os.close(opened)
    os.rmdir(name, dir_fd=folder)
    return n


def mv(work: Work, asked: Move) -> File:
    """Move or rename a file, link or folder; into the target where that is a folder, in place of it where it is not."""
    with work.root.find(asked.source, follow=False) as entry:
        entry.found  # noqa: B018 - raises where there is nothing
        _not_the_root(entry)
        with _destination(work.root, asked.target_path, entry.name) as (folder, name, path):
            with failing(path):
                os.rename(entry.name, name, src_dir_fd=entry.folder, dst_dir_fd=folder)
            return file_in(work, folder, name, path)


def cp(work: Work, asked: Copy) -> File:
    """Copy a file, link or folder with all that is in it; into the target where that is a folder."""
    dereference = is_set(asked.dereference)
    with work.root.find(asked.source, follow=dereference) as entry:
        entry.found  # noqa: B018 - raises where there is nothing
        with _destination(work.root, asked.target_path, entry.name) as (folder, name, path):
            if entry.is_folder and f"{path}/".startswith(f"{entry.path.rstrip('/')}/"):
                raise UsageError(f"'{shown(entry.path)}' cannot be copied into itself.")
            _Copying(work, dereference=dereference).copy(entry, folder, name, path, 0)
            return file_in(work, folder, name, path)


class _Copying:
    """A tree that is being copied."""

    def __init__(self, work: Work, *, dereference: bool) -> None:
        self._work, self._dereference, self._trail = work, dereference, Trail(work.limits.entries)

    def copy(self, entry: Entry, folder: int, name: str, path: str, depth: int) -> None:
        self._trail.count()
        mode = entry.found.st_mode
        if stat.S_ISDIR(mode):
            with failing(path):
                try:
                    os.mkdir(name, 0o777, dir_fd=folder)
                except FileExistsError:
                    pass  # what is in the one is added to the other
                inside = os.open(name, _FOLDER, dir_fd=folder)
            try:
                with self._trail.within(entry):
                    for child in children(self._work, entry, dereference=self._dereference, depth=depth):
                        self.copy(child, inside, child.name, f"{path}/{child.name}", depth + 1)
            finally:
                os.close(inside)
        elif stat.S_ISREG(mode):
            with reading(entry) as opened, written(self._work, folder, name, path, mode=mode) as file, failing(path):
                for block in blocks(self._work, opened):
                    file.write(block)
        elif stat.S_ISLNK(mode):
            with failing(path):
                os.symlink(os.readlink("", dir_fd=entry.handle), self._work.part, dir_fd=folder)
                put(self._work, folder, name)
        else:
            raise UsageError(f"'{shown(entry.path)}' is a {kind_of(mode)}, which cannot be copied.")


@contextmanager
def _destination(root: Root, target: str, name: str) -> Generator[tuple[int, str, str]]:
    """Yield folder, name and path of where something called `name` goes that is to be moved or copied to a target."""
    with root.find(target, may_lack=True) as entry:
        if entry.is_folder:
            if name == ".":
                raise UsageError("The resource's root cannot be copied into itself.")
            yield entry.handle, name, f"{entry.path.rstrip('/')}/{name}"
            return
    with root.find(target, follow=False, may_lack=True) as entry:
        yield entry.folder, entry.name, entry.path


def _not_the_root(entry: Entry) -> None:
    if entry.is_root:
        raise Denied("The resource's root itself cannot be changed.", "Name something below it.")


def may_be_written(entry: Entry) -> None:
    """Check that a regular file may be put where a path leads.

    Raises:
        UsageError: Something else is there.
    """
    if entry.stat is not None and not stat.S_ISREG(entry.stat.st_mode):
        raise UsageError(f"'{shown(entry.path)}' is a {kind_of(entry.stat.st_mode)}, not a file.", "Name a file.")
