"""What the tests of files share: a root with something beside it, and a way to perform one operation."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from file_operations import Do

from renkei.api.iri._fileops import OPERATIONS
from renkei.api.iri._filework import Limits, Work
from renkei.api.iri._paths import Root


@pytest.fixture(autouse=True)
def _usual_umask() -> Generator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that users see; `secret` lies beside it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("not for users")
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def do(root: Path) -> Do:
    """Performs one operation: do("ls", path="/") returns its output."""

    def perform(name: str, *, limits: Limits | None = None, content: bytes = b"", **args: Any) -> Any:
        work = Work(Root(root), lambda: None, ".renkei-test.part", limits or Limits(), content)
        return OPERATIONS[name].output(work, args)["output"]

    return perform
