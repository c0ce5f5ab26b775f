"""Every file and every command of the tutorials does what the page says."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from doc_pages import DOCS, ROOT, blocks_of, pattern_of

TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, done_well: Callable[[Path], None]) -> None:
    done_well(page)


def test_only_the_installation_is_not_tried() -> None:
    untested = [block for page in TUTORIALS for block in blocks_of(page) if "untested" in block.words]
    assert all(block.commands()[-1][0].startswith("pip install") for block in untested)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [
        name for block in untested for found in re.findall(r"\[([a-z,]+)\]", block.text) for name in found.split(",")
    ]
    assert named
    assert set(named) <= set(extras)


def test_the_first_campaign_takes_less_than_twenty_lines_of_python() -> None:
    code = [block for block in blocks_of(DOCS / "tutorials" / "first-campaign.md") if block.language == "python"]
    assert sum(len(block.text.splitlines()) for block in code) < 20


def test_numbers_and_dots_are_compared_loosely_and_nothing_else() -> None:
    assert re.fullmatch(pattern_of("trials  12: 3 observed\nbest ..."), "trials 9: 12 observed\n  best x 1")
    assert not re.fullmatch(pattern_of("trials 12"), "runs 12")
    assert not re.fullmatch(pattern_of("sound yes"), "sound no")
