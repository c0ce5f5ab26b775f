"""The one file in a body of multipart/form-data (RFC 7578)."""

import re

from renkei.api.iri._http import InvalidParam, Problem

PARTS_MAX = 20
"""How many parts a form may have."""

_BOUNDARY = re.compile(r"""multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))""", re.I)
_NAME = re.compile(rb"""content-disposition:\s*form-data\s*;(?:.*;)?\s*name=(?:"([^"]*)"|([^\s";]+))""", re.I)


def part_of(raw: bytes, media: bytes, name: str) -> bytes:
    """Return the content of the part with this name.

    Args:
        raw: The body.
        media: Its Content-Type.
        name: The part's name.

    Raises:
        Problem: The body is no form, or has no such part or several.
    """
    found = _BOUNDARY.match(media.decode("latin-1").strip())
    if found is None:
        raise _bad("Content-Type", "it is not multipart/form-data with a boundary")
    boundary = (found[1] or found[2]).encode("latin-1")
    parts = (b"\r\n" + raw).split(b"\r\n--" + boundary, PARTS_MAX + 2)
    if len(parts) < 2 or len(parts) > PARTS_MAX + 2:
        raise _bad("body", f"it is not a form of at most {PARTS_MAX} parts")
    contents: list[bytes] = []
    for part in parts[1:]:
        if part.startswith(b"--"):
            break
        line, ended, rest = part.partition(b"\r\n")
        if line.strip(b" \t") or not ended:
            raise _bad("body", "a boundary of the form is not followed by a new line")
        head, _, content = (b"\r\n" + rest).partition(b"\r\n\r\n")
        names = [
            match[1] if match[1] is not None else match[2] for match in map(_NAME.match, head.split(b"\r\n")) if match
        ]
        if names == [name.encode()]:
            contents.append(content)
    else:
        raise _bad("body", "the form ends without its last boundary")
    if len(contents) != 1:
        raise _bad(name, "it is missing" if not contents else "it is given more than once")
    return contents[0]


def _bad(name: str, reason: str) -> Problem:
    return Problem(400, f"{name}: {reason}.", [InvalidParam(name, reason)])
