"""A served site on loopback, for clients that others wrote."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a site that is served for the tests of one module."""
    folder = tmp_path_factory.mktemp("served")
    environment = os.environ | {"PYTHONPATH": f"{HERE}:{HERE.parent}"}
    program = [sys.executable, str(HERE / "serving.py"), str(folder)]
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            word, _, url = process.stdout.readline().strip().partition(" ")
            assert word == "ready"
            yield url
        finally:
            process.terminate()
            process.wait(20)
