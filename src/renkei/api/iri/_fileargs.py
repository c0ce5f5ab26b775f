"""What the filesystem operations of the IRI API are asked for: the bodies of their requests, as the document has them.

The document's own examples say `source_path` for `path` and "true" for true: both are understood.
"""

from typing import Annotated, Literal

import msgspec

from renkei.errors import UsageError

Flag = bool | Literal["true", "false"]
"""Yes or no."""
Count = Annotated[int, msgspec.Meta(ge=1)]
"""A positive number."""
Compression = Annotated[
    str,
    msgspec.Meta(
        min_length=25,
        pattern=r"^urn:doe-iri:compression:(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}|[!$&'()*+,;=@]|/)+"
        r"(?::(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}|[!$&'()*+,;=@]|/)+)*$",
    ),
]
"""How an archive is compressed."""
GZIP = "urn:doe-iri:compression:gzip"


def is_set(flag: Flag) -> bool:
    """Return whether a flag says yes."""
    return flag is True or flag == "true"


class OnPath(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an operation that may be told its path under either name."""

    path: str | None = None
    source_path: str | None = None

    @property
    def source(self) -> str:
        """The path.

        Raises:
            UsageError: It is not there.
        """
        source = self.path if self.path is not None else self.source_path
        if source is None:
            raise UsageError("The request has no path.", 'Say which file or folder: {"path": "/data/run.h5"}.')
        return source


class Chmod(OnPath, frozen=True, kw_only=True, omit_defaults=True):
    """chmod: the mode in octal."""

    mode: str


class Chown(OnPath, frozen=True, kw_only=True, omit_defaults=True):
    """chown: names of owner and group; "" leaves it as it is."""

    owner: str = ""
    group: str = ""


class MakeFolder(OnPath, frozen=True, kw_only=True, omit_defaults=True):
    """mkdir: whether the folders on the way are made too."""

    parent: Flag = False


class Link(OnPath, frozen=True, kw_only=True, omit_defaults=True):
    """symlink: where the link to `path` is made."""

    link_path: str


class Move(OnPath, frozen=True, kw_only=True, omit_defaults=True):
    """mv: where to."""

    target_path: str


class Copy(Move, frozen=True, kw_only=True, omit_defaults=True):
    """cp: where to, and whether links are followed."""

    dereference: Flag = False


class Compress(Copy, frozen=True, kw_only=True, omit_defaults=True):
    """compress: the archive, which files (a regular expression for their whole path), and how."""

    match_pattern: str | None = None
    compression: Compression = GZIP


class Extract(Move, frozen=True, kw_only=True, omit_defaults=True):
    """extract: the folder, and how the archive is compressed."""

    compression: Compression = GZIP


class OfPath(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an operation on one path: file, checksum, rm, download; and what is kept of upload."""

    path: str


class Stat(OfPath, frozen=True, kw_only=True, omit_defaults=True):
    """stat: whether a link at the end is followed."""

    dereference: Flag = False


class Listing(OfPath, frozen=True, kw_only=True, omit_defaults=True):
    """ls: what to show."""

    show_hidden: Flag = msgspec.field(default=False, name="showHidden")
    numeric_uid: Flag = msgspec.field(default=False, name="numericUid")
    recursive: Flag = False
    dereference: Flag = False


class Head(OfPath, frozen=True, kw_only=True, omit_defaults=True):
    """head: so many bytes or lines from the beginning, or all but so many at the end."""

    bytes: int | None = None
    lines: int | None = None
    skip_trailing: Flag = msgspec.field(default=False, name="skipTrailing")


class Tail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tail: so many bytes or lines at the end, or all but so many from the beginning."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    bytes: Count | None = None
    lines: Count | None = None
    skip_heading: Flag = msgspec.field(default=False, name="skipHeading")


class View(OfPath, frozen=True, kw_only=True, omit_defaults=True):
    """view: so many bytes from an offset; left out, as many as may be."""

    size: Count = 0
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
