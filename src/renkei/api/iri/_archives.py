"""compress and extract: tar archives, plain or compressed, written and read without any program.

An archive is read twice: first to look at every member, and only when none of them is to be refused, to extract them.
tarfile only parses: what it extracts by itself goes by paths, which can be turned into links meanwhile, and its filters
are not in every Python 3.11.
"""

import bz2
import gzip
import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Literal, cast

import msgspec

from renkei.api.iri._fileargs import Compress, Extract, is_set
from renkei.api.iri._filechanges import may_be_written
from renkei.api.iri._filework import BLOCK_BYTES, File, Trail, Work, children, failing, file_in, put, reading, written
from renkei.api.iri._paths import DEPTH_MAX, NAME_BYTES, Entry, kind_of, problem_of, shown
from renkei.errors import Denied, RenkeiError, UsageError

MATCH_S = 10.0
"""How long a regular expression may take over all names."""
HEADER_BYTES = 1 << 20
"""The longest header of an archive's member, and the most that is read from it at once."""

Compression = Literal["none", "gzip", "bzip2"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_UNREADABLE = (
    tarfile.TarError,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
)
"""What tarfile raises at archives that are none."""

_MATCH = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
pattern, names = json.load(sys.stdin)
match = re.compile(pattern).fullmatch
json.dump([n for n, name in enumerate(names) if match(name) or match("./" + name)], sys.stdout)
"""


def _compression(urn: str) -> Compression:
    kind = urn.rpartition(":")[2]
    if kind not in ("none", "gzip", "bzip2"):
        raise UsageError(f"There is no compression '{shown(kind[:40])}' here.", "There are none, gzip and bzip2.")
    return kind


# ---- compress ----------------------------------------------------------------------------------------------------


def compress(work: Work, asked: Compress) -> File:
    """Write a file or folder into a tar archive; its names there begin with its own."""
    kind = _compression(asked.compression)
    with (
        work.root.find(asked.source, follow=is_set(asked.dereference)) as entry,
        work.root.find(asked.target_path, may_lack=True) as target,
    ):
        entry.found  # noqa: B018 - raises where there is nothing
        may_be_written(target)
        packing = _Packing(work, entry, target.path, dereference=is_set(asked.dereference))
        if asked.match_pattern is not None:
            packing.only = _matching(asked.match_pattern, packing.names())
        with (
            written(work, target.folder, target.name, target.path) as file,
            failing(target.path),
            _compressing(file, kind) as out,
            tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            packing.pack(archive)
        return file_in(work, target.folder, target.name, target.path)


@contextmanager
def _compressing(file: BinaryIO, kind: Compression) -> Generator[BinaryIO]:
    if kind == "none":
        yield file
    elif kind == "gzip":
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) as out:
            yield cast("BinaryIO", out)
    else:
        with bz2.BZ2File(file, "wb") as out:
            yield cast("BinaryIO", out)


class _Packing:
    """What goes into an archive."""

    def __init__(self, work: Work, top: Entry, target: str, *, dereference: bool) -> None:
        self._work, self._top, self._target, self._dereference = work, top, target, dereference
        self._name = "." if top.is_root else top.name
        self.only: frozenset[str] | None = None

    def names(self) -> list[str]:
        """Return the paths, below the folder that is packed, of everything that is no folder."""
        return [path or self._top.name for path, entry in self._members() if not entry.is_folder]

    def pack(self, archive: tarfile.TarFile) -> None:
        """Write everything that goes into the archive."""
        for path, entry in self._members():
            if self.only is not None and (path or self._top.name) not in self.only:
                continue
            self._add(archive, f"{self._name}/{path}" if path else self._name, entry)

    def _members(self) -> Iterator[tuple[str, Entry]]:
        trail = Trail(self._work.limits.entries)
        yield "", self._top
        if self._top.is_folder:
            yield from self._inside(self._top, "", trail, 0)

    def _inside(self, folder: Entry, head: str, trail: Trail, depth: int) -> Iterator[tuple[str, Entry]]:
        with trail.within(folder):
            for child in children(self._work, folder, dereference=self._dereference, depth=depth):
                if child.path == self._target or child.name == self._work.part:
                    continue
                trail.count()
                yield head + child.name, child
                if child.is_folder:
                    yield from self._inside(child, f"{head}{child.name}/", trail, depth + 1)

    def _add(self, archive: tarfile.TarFile, name: str, entry: Entry) -> None:
        found = entry.found
        member = tarfile.TarInfo(name)
        member.mode, member.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
        member.uid, member.gid = found.st_uid, found.st_gid
        member.uname, member.gname = self._work.names.user(found.st_uid), self._work.names.group(found.st_gid)
        if entry.is_folder:
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        elif stat.S_ISLNK(found.st_mode):
            member.type, member.linkname = tarfile.SYMTYPE, os.readlink("", dir_fd=entry.handle)
            archive.addfile(member)
        elif stat.S_ISREG(found.st_mode):
            with reading(entry) as opened, os.fdopen(os.dup(opened), "rb", buffering=0) as file:
                member.size = os.fstat(opened).st_size
                archive.addfile(member, cast("io.BufferedReader", _Checked(self._work, file)))
        else:
            raise UsageError(f"'{shown(entry.path)}' is a {kind_of(found.st_mode)}, which no archive can hold.")


class _Checked:
    """A file that asks, at every read, whether the operation shall stop."""

    def __init__(self, work: Work, file: io.FileIO) -> None:
        self._work, self._file = work, file

    def read(self, n: int) -> bytes:
        self._work.check()
        return self._file.read(n)


def _matching(pattern: str, names: list[str]) -> frozenset[str]:
    """Return the names that a regular expression matches; in a process of its own, since some never come to an end."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"match_pattern is not a regular expression: {error}.") from error
    texts = [shown(name) for name in names]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _MATCH],
            input=json.dumps([pattern, texts]).encode(),
            capture_output=True,
            timeout=MATCH_S,
            check=True,
            env={},
        )
        return frozenset(names[n] for n in msgspec.json.decode(done.stdout, type=list[int]))
    except subprocess.TimeoutExpired:
        raise UsageError(f"match_pattern took longer than {MATCH_S:g} s.", "Take a simpler one.") from None
    except (subprocess.CalledProcessError, msgspec.DecodeError, IndexError) as error:
        raise UsageError("match_pattern could not be applied.", "Take a simpler one.") from error


# ---- extract -----------------------------------------------------------------------------------------------------


def extract(work: Work, asked: Extract) -> File:
    """Extract a tar archive into a folder, which is made if need be; files that are there are replaced."""
    kind = _compression(asked.compression)
    with work.root.find(asked.source) as entry, reading(entry) as opened:
        for member in _members(work, opened, kind, entry.path):
            _look_at(member.info)
        with work.root.find(asked.target_path, may_lack=True) as target:
            if target.stat is None:
                with failing(target.path):
                    os.mkdir(target.name, 0o777, dir_fd=target.folder)
        with work.root.find(asked.target_path) as target:
            into = target.open_folder()
            try:
                for member in _members(work, opened, kind, entry.path):
                    _put(work, into, member, target.path)
            finally:
                os.close(into)
            return file_in(work, target.folder, target.name, target.path)


class _Member:
    """One member of an archive that is being read."""

    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> None:
        self._archive, self.info, self._path = archive, info, path

    def content(self) -> Iterator[bytes]:
        """Yield a regular file's bytes."""
        with _parsing(self._path):
            file = self._archive.extractfile(self.info)
        left = self.info.size
        while file is not None and left > 0:
            with _parsing(self._path):
                block = file.read(min(left, BLOCK_BYTES))
                if not block:
                    raise EOFError
            left -= len(block)
            yield block


def _members(work: Work, opened: int, kind: Compression, path: str) -> Iterator[_Member]:
    trail = Trail(work.limits.entries)
    with os.fdopen(os.dup(opened), "rb") as file:
        file.seek(0)
        source = _Metered(work, _decompressing(file, kind))
        with _parsing(path):
            archive = tarfile.open(fileobj=cast("BinaryIO", source), mode="r:")  # noqa: SIM115 - it holds nothing
        while True:
            with _parsing(path):
                info = archive.next()
            if info is None:
                return
            archive.members = []  # pyright: ignore[reportAttributeAccessIssue] - or it would keep them all
            trail.count()
            yield _Member(archive, info, path)


def _decompressing(file: BinaryIO, kind: Compression) -> BinaryIO:
    if kind == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))
    return cast("BinaryIO", bz2.BZ2File(file, "rb")) if kind == "bzip2" else file


@contextmanager
def _parsing(path: str) -> Generator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise UsageError(
            f"'{shown(path)}' is not a readable archive of that compression: {str(error)[:80] or 'it ends too early'}.",
            "Say how it is compressed: urn:doe-iri:compression:gzip, :bzip2 or :none.",
        ) from error
    except OSError as error:
        if error.errno is None:  # how bz2 says that the data are no such
            raise UsageError(f"'{shown(path)}' is not a readable archive of that compression.") from error
        raise problem_of(error, path) from error


class _Metered:
    """What comes out of an archive: read forwards only, a little at a time, and not without end."""

    def __init__(self, work: Work, file: BinaryIO) -> None:
        self._work, self._file, self._at = work, file, 0

    def tell(self) -> int:
        return self._at

    def read(self, n: int) -> bytes:
        if not 0 <= n <= HEADER_BYTES:
            raise UsageError("The archive has a member with a header that is too long.")
        self._work.check()
        block = self._file.read(n)
        self._at += len(block)
        if self._at > self._work.limits.archive_bytes:
            raise UsageError(f"More than {self._work.limits.archive_bytes} bytes come out of the archive.")
        return block

    def seek(self, at: int) -> int:
        if at < self._at:
            raise tarfile.ReadError("it leads backwards")
        while self._at < at and self.read(min(at - self._at, BLOCK_BYTES)):
            pass
        return self._at


def _look_at(info: tarfile.TarInfo) -> None:
    """Check that a member may be extracted: a file, folder or link, and inside of where it is extracted.

    Raises:
        RenkeiError: It may not.
    """
    name = info.name
    if not (info.isdir() or info.issym() or info.islnk() or (info.isreg() and not info.issparse())):
        raise Denied(f"The archive holds '{shown(name)}', which is no file, folder or link.", "Nothing was extracted.")
    try:
        parts = _parts(name)
        if info.islnk() and not _parts(info.linkname):
            raise UsageError("The link has no target.")
    except RenkeiError as error:
        raise Denied(
            f"The archive holds '{shown(name)}', which leads out of the folder.", "Nothing was extracted."
        ) from error
    if not parts and not info.isdir():
        raise Denied("The archive holds a file without a name.", "Nothing was extracted.")
    if info.issym() and not _stays_inside(parts, info.linkname):
        raise Denied(
            f"The archive holds the link '{shown(name)}', which points out of the folder.", "Nothing was extracted."
        )


def _parts(name: str) -> list[str]:
    """Return the names in a member's path."""
    if name.startswith("/") or "\0" in name:
        raise UsageError("The path is absolute or has a NUL character.")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or len(parts) > DEPTH_MAX or any(len(os.fsencode(part)) > NAME_BYTES for part in parts):
        raise UsageError("The path goes back, or is too long.")
    return parts


def _stays_inside(parts: list[str], target: str) -> bool:
    """Return whether a link leads down from a folder above it, whatever links are among the others."""
    names = [name for name in target.split("/") if name not in ("", ".")]
    n_back = 0
    while n_back < len(names) and names[n_back] == "..":
        n_back += 1
    return not target.startswith("/") and "\0" not in target and ".." not in names[n_back:] and n_back < len(parts)


def _put(work: Work, into: int, member: _Member, head: str) -> None:
    """Extract one member, through real folders only."""
    info = member.info
    _look_at(info)  # once more: the archive may be another one by now
    parts = _parts(info.name)
    path = "/".join([head.rstrip("/"), *parts])
    with failing(path), _folder(into, parts if info.isdir() else parts[:-1], path) as folder:
        if info.isdir():
            return
        name = parts[-1]
        if info.isreg():
            part = os.open(work.part, _NEW, 0o755 if info.mode & 0o100 else 0o644, dir_fd=folder)
            try:
                with os.fdopen(part, "wb") as file:
                    for block in member.content():
                        file.write(block)
                    file.flush()
                    if 0 <= info.mtime < 1 << 33:
                        os.utime(file.fileno(), (info.mtime, info.mtime))
                os.rename(work.part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(work.part, dir_fd=folder)
                raise
            return
        if info.issym():
            os.symlink(info.linkname, work.part, dir_fd=folder)
        else:
            _link(into, _parts(info.linkname), folder, work.part, path)
        put(work, folder, name)


def _link(into: int, other: list[str], folder: int, name: str, path: str) -> None:
    """Make a hard link to a regular file that was extracted before."""
    with _folder(into, other[:-1], path) as there:
        handle = os.open(other[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=there)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):  # a link means something else in another folder
                raise UsageError(f"The archive has '{shown(path)}' as a hard link to something that is no file.")
            os.link(f"/proc/self/fd/{handle}", name, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(handle)


@contextmanager
def _folder(into: int, parts: list[str], path: str) -> Generator[int]:
    """Open a folder below another, and make those that are missing; none of them may be a link."""
    opened = os.dup(into)
    try:
        for part in parts:
            try:
                os.mkdir(part, 0o777, dir_fd=opened)
            except FileExistsError:
                pass  # very well, if it is a folder
            try:
                inside = os.open(part, _FOLDER, dir_fd=opened)
            except OSError as error:
                raise UsageError(f"'{shown(path)}' would be extracted through something that is no folder.") from error
            os.close(opened)
            opened = inside
        yield opened
    finally:
        os.close(opened)
