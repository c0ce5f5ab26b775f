"""What the tests of files share: performing one operation, and building archives."""

import io
import tarfile
from collections.abc import Callable
from typing import Any

Do = Callable[..., Any]
"""Performs one operation: do("ls", path="/") returns its output."""


def tar(*members: tuple[str, str] | tuple[str, str, str], mode: str = "w:gz") -> bytes:
    """Return an archive of members: ("file", name, content), ("folder", name), ("link" or "hard", name, target)..."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for kind, name, *rest in members:
            info = tarfile.TarInfo(name)
            content = rest[0].encode() if rest else b""
            info.type = {
                "file": tarfile.REGTYPE,
                "folder": tarfile.DIRTYPE,
                "link": tarfile.SYMTYPE,
                "hard": tarfile.LNKTYPE,
                "fifo": tarfile.FIFOTYPE,
                "device": tarfile.CHRTYPE,
                "sparse": tarfile.GNUTYPE_SPARSE,
            }[kind]
            if kind in ("link", "hard"):
                info.linkname = rest[0]
            elif kind == "file":
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))  # pyright: ignore[reportUnknownMemberType]
    return out.getvalue()
