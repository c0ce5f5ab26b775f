"""The filesystem operations of the IRI API: one table of all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from renkei.api.iri import _archives, _filechanges, _filereads
from renkei.api.iri._fileargs import (
    Chmod,
    Chown,
    Compress,
    Copy,
    Extract,
    Head,
    Link,
    Listing,
    MakeFolder,
    Move,
    OfPath,
    Stat,
    Tail,
    View,
)
from renkei.api.iri._filework import Work

A = TypeVar("A", bound=msgspec.Struct)


@dataclass(frozen=True)
class FileOperation(Generic[A]):
    """One operation.

    Args:
        args: What it is asked for.
        perform: What it does, in a thread; what it returns is its output.
        status: What its request is answered with.
        is_change: Whether it changes anything.
        is_repeatable: Whether nothing is lost when it is done twice, or once and a half.
    """

    args: type[A]
    perform: Callable[[Work, A], object]
    status: int = 200
    is_change: bool = False
    is_repeatable: bool = True

    def output(self, work: Work, args: Mapping[str, Any]) -> dict[str, Any]:
        """Perform it and return the result of its task.

        Raises:
            RenkeiError: It cannot be done; one sentence for people.
        """
        return {"output": msgspec.to_builtins(self.perform(work, msgspec.convert(args, self.args)))}


OPERATIONS: Mapping[str, FileOperation[Any]] = {
    "chmod": FileOperation(Chmod, _filechanges.chmod, is_change=True),
    "chown": FileOperation(Chown, _filechanges.chown, is_change=True),
    "file": FileOperation(OfPath, _filereads.file_type),
    "stat": FileOperation(Stat, _filereads.file_stat),
    "mkdir": FileOperation(MakeFolder, _filechanges.mkdir, 201, is_change=True, is_repeatable=False),
    "symlink": FileOperation(Link, _filechanges.symlink, 201, is_change=True, is_repeatable=False),
    "ls": FileOperation(Listing, _filereads.listed),
    "head": FileOperation(Head, _filereads.head),
    "view": FileOperation(View, _filereads.view),
    "tail": FileOperation(Tail, _filereads.tail),
    "checksum": FileOperation(OfPath, _filereads.checksum),
    "rm": FileOperation(OfPath, _filechanges.rm, is_change=True, is_repeatable=False),
    "compress": FileOperation(Compress, _archives.compress, 201, is_change=True, is_repeatable=False),
    "extract": FileOperation(Extract, _archives.extract, 201, is_change=True, is_repeatable=False),
    "mv": FileOperation(Move, _filechanges.mv, 201, is_change=True, is_repeatable=False),
    "cp": FileOperation(Copy, _filechanges.cp, 201, is_change=True, is_repeatable=False),
    "download": FileOperation(OfPath, _filereads.download),
    "upload": FileOperation(OfPath, _filechanges.upload, is_change=True),
}
"""Every operation on files, by its operationId."""

REPEATABLE = frozenset(name for name, operation in OPERATIONS.items() if operation.is_repeatable)
"""The operations that are done again when the site stopped in the middle of them."""
