"""Filesystem operations that change nothing."""

import hashlib
import os
import stat
from base64 import b64encode

import msgspec

from renkei.api.iri._fileargs import Head, Listing, OfPath, Stat, Tail, View, is_set
from renkei.api.iri._filework import (
    BLOCK_BYTES,
    SMALL_BYTES,
    File,
    Names,
    Trail,
    Work,
    blocks,
    children,
    failing,
    file_at,
    reading,
)
from renkei.api.iri._paths import Entry, kind_of, problem_of, shown
from renkei.errors import RenkeiError, UsageError

LINES = 10
"""How many lines head and tail show when nothing is said."""


class Content(msgspec.Struct, frozen=True):
    """A part of a file as text; bytes that are not UTF-8 are shown as U+FFFD.

    Args:
        content: The text.
        content_type: What the positions count: "bytes" or "lines".
        start_position: Where it begins; negative: so many before the end.
        end_position: Where it ends; negative: so many before the end, -1 for the end itself.
    """

    content: str
    content_type: str
    start_position: int
    end_position: int


class Checksum(msgspec.Struct, frozen=True):
    """A file's checksum in hex."""

    checksum: str
    algorithm: str = "SHA-256"


class Status(msgspec.Struct, frozen=True):
    """What stat(2) says; times in whole seconds since 1970 UTC."""

    mode: int
    ino: int
    dev: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime: int
    ctime: int
    mtime: int


def file_stat(work: Work, asked: Stat) -> Status:
    """Return what stat(2) says."""
    with work.root.find(asked.path, follow=is_set(asked.dereference)) as entry:
        found = entry.found
    return Status(
        mode=found.st_mode,
        ino=found.st_ino,
        dev=found.st_dev,
        nlink=found.st_nlink,
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size,
        atime=int(found.st_atime),
        ctime=int(found.st_ctime),
        mtime=int(found.st_mtime),
    )


_MAGIC = (
    (b"\x1f\x8b", "gzip compressed data"),
    (b"BZh", "bzip2 compressed data"),
    (b"\xfd7zXZ\0", "XZ compressed data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard compressed data"),
    (b"PK\x03\x04", "Zip archive data"),
    (b"\x89HDF\r\n\x1a\n", "Hierarchical Data Format (version 5) data"),
    (b"CDF\x01", "NetCDF data"),
    (b"CDF\x02", "NetCDF data"),
    (b"\x93NUMPY", "NumPy array"),
    (b"PAR1", "Apache Parquet data"),
    (b"SQLite format 3\0", "SQLite 3.x database"),
    (b"\x7fELF", "ELF"),
    (b"\x89PNG\r\n\x1a\n", "PNG image data"),
    (b"\xff\xd8\xff", "JPEG image data"),
    (b"%PDF-", "PDF document"),
    (b"#!", "script text executable"),
)


def file_type(work: Work, asked: OfPath) -> str:
    """Return what a file is: of one that is no folder or link, by its first bytes."""
    with work.root.find(asked.path, follow=False) as entry:
        if not stat.S_ISREG(entry.found.st_mode):
            return kind_of(entry.found.st_mode)
        with reading(entry) as opened, failing(entry.path):
            head = os.pread(opened, 4096, 0)
    if not head:
        return "empty"
    if head[257:262] == b"ustar":
        return "POSIX tar archive"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return _text_or_data(head)


def _text_or_data(head: bytes) -> str:
    if b"\0" in head:
        return "data"
    try:
        head.decode("ascii")
    except UnicodeDecodeError:
        try:
            head[: len(head) - 3 if len(head) == 4096 else None].decode()
        except UnicodeDecodeError as error:
            return "UTF-8 text" if error.start >= len(head) - 6 and error.start > 0 else "data"
        return "UTF-8 text"
    return "ASCII text"


def listed(work: Work, asked: Listing) -> list[File]:
    """Return what is in a folder, or the one file that the path leads to."""
    names = Names(is_numeric=is_set(asked.numeric_uid))
    found: list[File] = []
    trail = Trail(work.limits.listed)

    def show(entry: Entry, name: str) -> None:
        if is_set(asked.dereference) and stat.S_ISLNK(entry.found.st_mode):
            try:
                with work.root.find(entry.path) as end:
                    end.found  # noqa: B018 - raises where the link leads nowhere
                    found.append(file_at(end, name, names))
                    return
            except RenkeiError:
                pass  # a link that leads nowhere, or out of the resource, is shown as itself
        found.append(file_at(entry, name, names))

    def enter(folder: Entry, head: str, depth: int) -> None:
        for child in children(work, folder, depth=depth):
            if child.name.startswith(".") and not is_set(asked.show_hidden):
                continue
            trail.count()
            show(child, head + child.name)
            if child.is_folder and is_set(asked.recursive):
                enter(child, f"{head}{child.name}/", depth + 1)

    with work.root.find(asked.path) as entry:
        if entry.is_folder:
            enter(entry, "", 0)
        else:
            show(entry, entry.name)
    return found


def head(work: Work, asked: Head) -> Content:
    """Return the first bytes or lines of a file, or all but the last ones."""
    if asked.bytes is not None and asked.lines is not None:
        raise UsageError("head takes bytes or lines, not both.")
    wanted = asked.bytes if asked.bytes is not None else LINES if asked.lines is None else asked.lines
    if wanted < 0:
        raise UsageError("head takes a number of bytes or lines that is not negative.")
    is_cut = is_set(asked.skip_trailing)
    with work.root.find(asked.path) as entry, reading(entry) as opened:
        size = entry.found.st_size
        if asked.bytes is not None:
            end = max(0, size - wanted) if is_cut else min(wanted, size)
            return Content(_text(work, entry, opened, 0, end), "bytes", 0, -wanted if is_cut else end)
        if is_cut:
            end = _last_lines(work, entry, opened, wanted)
            return Content(_text(work, entry, opened, 0, end), "lines", 0, -wanted)
        end, n = _first_lines(work, entry, opened, wanted)
        return Content(_text(work, entry, opened, 0, end), "lines", 0, n)


def tail(work: Work, asked: Tail) -> Content:
    """Return the last bytes or lines of a file, or all but the first ones."""
    if asked.bytes is not None and asked.lines is not None:
        raise UsageError("tail takes bytes or lines, not both.")
    wanted = asked.bytes if asked.bytes is not None else asked.lines or LINES
    is_cut = is_set(asked.skip_heading)
    with work.root.find(asked.path) as entry, reading(entry) as opened:
        size = entry.found.st_size
        if asked.bytes is not None:
            start = min(wanted, size) if is_cut else max(0, size - wanted)
            kind = "bytes"
        else:
            start = _first_lines(work, entry, opened, wanted)[0] if is_cut else _last_lines(work, entry, opened, wanted)
            kind = "lines"
        return Content(_text(work, entry, opened, start, size), kind, wanted if is_cut else -wanted, -1)


def view(work: Work, asked: View) -> Content:
    """Return bytes of a file from an offset on."""
    if asked.size > SMALL_BYTES:
        raise UsageError(f"view shows at most {SMALL_BYTES} bytes.", "Ask for one part after another with offset.")
    with work.root.find(asked.path) as entry, reading(entry) as opened:
        start = min(asked.offset, entry.found.st_size)
        end = min(entry.found.st_size, start + (asked.size or SMALL_BYTES))
        return Content(_text(work, entry, opened, start, end), "bytes", start, end)


def _text(work: Work, entry: Entry, opened: int, start: int, end: int) -> str:
    if end - start > SMALL_BYTES:
        raise UsageError(
            f"That is {end - start} bytes of '{shown(entry.path)}', and {SMALL_BYTES} is the most.",
            "Read it in parts with view.",
        )
    with failing(entry.path):
        return b"".join(blocks(work, opened, start, end - start)).decode("utf-8", "replace")


def _first_lines(work: Work, entry: Entry, opened: int, n: int) -> tuple[int, int]:
    """Return where the first `n` lines end, and how many there are of them."""
    at = seen = 0
    ends_open = False
    if n == 0:
        return 0, 0
    with failing(entry.path):
        for block in blocks(work, opened):
            inside = block.count(b"\n")
            if seen + inside >= n:
                where = -1
                for _ in range(n - seen):
                    where = block.index(b"\n", where + 1)
                return at + where + 1, n
            seen, at, ends_open = seen + inside, at + len(block), not block.endswith(b"\n")
    return at, seen + ends_open


def _last_lines(work: Work, entry: Entry, opened: int, n: int) -> int:
    """Return where the last `n` lines begin."""
    end = size = entry.found.st_size
    if n == 0 or size == 0:
        return size
    with failing(entry.path):
        left = n + (os.pread(opened, 1, size - 1) == b"\n")
        while end > 0:
            work.check()
            start = max(0, end - BLOCK_BYTES)
            block = os.pread(opened, end - start, start)
            inside = block.count(b"\n")
            if inside >= left:
                where = len(block)
                for _ in range(left):
                    where = block.rindex(b"\n", 0, where)
                return start + where + 1
            left -= inside
            end = start
    return 0


def checksum(work: Work, asked: OfPath) -> Checksum:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with work.root.find(asked.path) as entry, reading(entry) as opened, failing(entry.path):
        for block in blocks(work, opened):
            digest.update(block)
    return Checksum(digest.hexdigest())


def download(work: Work, asked: OfPath) -> str:
    """Return a small file in base64."""
    with work.root.find(asked.path) as entry, reading(entry) as opened:
        if entry.found.st_size > SMALL_BYTES:
            raise UsageError(
                f"'{shown(entry.path)}' has {entry.found.st_size} bytes, and {SMALL_BYTES} is the most.",
                "Use a data transfer service of the site.",
            )
        try:
            content = b"".join(blocks(work, opened, 0, SMALL_BYTES))
        except OSError as error:
            raise problem_of(error, entry.path) from error
    return b64encode(content).decode()
