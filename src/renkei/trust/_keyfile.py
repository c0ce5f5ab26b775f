"""Key files: one JSON object, readable by its owner alone."""

import os
import stat
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from renkei.errors import UsageError

Seed = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

_ANYONE_ELSE = stat.S_IRWXG | stat.S_IRWXO


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a key file holds; the two seeds are base64 in JSON."""

    format: Literal["renkei-key-1"]
    name: str
    ed25519: Seed
    ml_dsa_65: Seed

    def __repr__(self) -> str:
        return f"KeyFile({self.name!r})"  # never the seeds: a repr may end in a log


def read_key_file(path: Path) -> KeyFile:
    """Return what the file holds.

    Raises:
        UsageError: There is no such file, group or others have any right to it, or it is not a key.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(65536)
    except OSError as error:
        raise UsageError(f"Key file {path} cannot be read: {error.strerror}.", "Check the path.") from None
    if mode & _ANYONE_ELSE:
        raise UsageError(f"Key file {path} is open to group or others (mode {mode:o}).", f"Run: chmod 600 {path}")
    try:
        return msgspec.json.decode(data, type=KeyFile)
    except ValueError as error:  # msgspec's errors are ValueErrors, and so are those of bytes that are not UTF-8
        raise UsageError(f"Key file {path} is broken: {error}.", "Restore it from a copy or make a new key.") from None


def write_key_file(path: Path, content: KeyFile) -> None:
    """Write a new file of mode 600; it is there whole or not at all.

    Raises:
        UsageError: Something is there already, or the folder cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".key-")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o600)
                file.write(msgspec.json.encode(content) + b"\n")
                file.flush()
                os.fsync(handle)
            os.link(temporary, path)  # unlike a rename, fails when something is there
        finally:
            Path(temporary).unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        raise UsageError(f"{path} exists already.", "Move the old key away first, or choose another path.") from None
    except OSError as error:
        raise UsageError(f"Key file {path} cannot be written: {error.strerror}.", "Check the folder.") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
