"""A folder of immutable files, each named by the SHA-256 of its content."""

import hashlib
import os
import shutil
from pathlib import Path

from renkei.errors import IntegrityBroken, UsageError
from renkei.model.records import Dataset


class DatasetStore:
    """Keeps files by digest below `directory`; what is kept is read-only. Methods block: call them from a thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, path: Path, name: str) -> Dataset:
        """Copy a file into the store, durably, and return what it is known as.

        Raises:
            OSError: The file cannot be read or the store cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        part = self.directory / f".{os.getpid()}-{path.name}.part"
        digest = hashlib.sha256()
        try:
            with open(path, "rb") as source, open(part, "wb") as target:
                while block := source.read(1 << 20):
                    digest.update(block)
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
            kept = self.path(digest.hexdigest())
            kept.parent.mkdir(exist_ok=True)
            part.chmod(0o444)
            os.replace(part, kept)
        finally:
            part.unlink(missing_ok=True)
        return Dataset(name, digest.hexdigest(), kept.stat().st_size)

    def path(self, digest: str) -> Path:
        """Return where the content of this digest lies, whether it is there or not."""
        return self.directory / digest[:2] / digest[2:]

    def fetch(self, digest: str, target: Path) -> None:
        """Copy content out of the store, after checking that it still is what its digest says.

        Raises:
            UsageError: The store does not have it, or `target` exists.
            IntegrityBroken: The file in the store was altered.
        """
        kept = self.path(digest)
        if not kept.is_file():
            raise UsageError(f"There is no dataset {digest} here.", "List them with: renkei dataset list")
        if target.exists():
            raise UsageError(f"{target} exists already.", "Name another file with --output.")
        with open(kept, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise IntegrityBroken(f"The dataset {digest} was altered: its content now has the digest {found}.")
        part = target.with_name(f".{target.name}.part")
        try:
            shutil.copyfile(kept, part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
