"""A Slurm for the tests of this folder, started once."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Slurm of this session's own: two nodes of four cores, partitions `short` and `long`."""
    if problem := missing():
        pytest.skip(problem)
    folder = Path(tempfile.mkdtemp(prefix="rk-slurm-"))  # short: there is a socket in it
    folder.chmod(0o755)
    try:
        with Cluster(folder) as cluster:
            before = {name: os.environ.get(name) for name in cluster.environment}
            os.environ |= cluster.environment
            yield cluster
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
    finally:
        shutil.rmtree(folder, ignore_errors=True)
