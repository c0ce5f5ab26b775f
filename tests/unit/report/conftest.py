"""One real campaign that the tests of reports share; tests that change it work on a copy."""

import shutil
from pathlib import Path

import pytest
from homes import CAMPAIGN, drive, joint_home

from renkei.home._home import Home
from renkei.report import CampaignView, view_campaign

NAME = "hard-alloy"


@pytest.fixture(scope="session")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which the campaign ended; not to be changed."""
    folder = tmp_path_factory.mktemp("joint")
    home = joint_home(folder)
    drive(home, CAMPAIGN, folder)
    return home


@pytest.fixture(scope="session")
def view(joint: Home) -> CampaignView:
    return view_campaign(joint, NAME)


@pytest.fixture
def copy(joint: Home, tmp_path: Path) -> Home:
    """A copy of it."""
    shutil.copytree(joint.path, tmp_path / "copy", symlinks=True)
    return Home(tmp_path / "copy")
