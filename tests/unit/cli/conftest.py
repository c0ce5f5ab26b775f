"""Calling the command line in this process, and a home with a campaign that has ended."""

import os

import pytest
from cli_example import Ended, Renkei, Result, finish, start, write_campaign

from renkei.cli import main


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RENKEI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def renkei(capsys: pytest.CaptureFixture[str]) -> Renkei:
    """Run a command in this process."""

    def call(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("ended")
    write_campaign(folder)
    said = finish(start("campaign", "run", "campaign.toml", "--home", "home", "--json", cwd=folder))
    assert said.code == 0, said.err
    return Ended(folder / "home", said)
