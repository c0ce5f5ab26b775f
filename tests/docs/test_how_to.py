"""Every file and every command of the how-to pages does what the page says."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from doc_pages import DOCS, ROOT, blocks_of

from renkei.policy._reading import ANNOTATIONS
from renkei.policy._schema import FACTS, PER_RUN, RESOURCE

PAGES = [ROOT / "README.md", *sorted((DOCS / "how-to").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, done_well: Callable[[Path], None]) -> None:
    done_well(page)


def test_everything_that_a_policy_can_see_is_told() -> None:
    text = (DOCS / "how-to" / "write-a-policy.md").read_text()
    for name in (*FACTS, *PER_RUN):
        assert f"context.{name}" in text or f"`.{name}`" in text, name
    assert all(f"resource.{name}" in text for name in RESOURCE)
    assert all(f"`@{name}`" in text for name in ANNOTATIONS)


def test_code_on_the_pages_is_python() -> None:
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "python":
                compile(block.text, f"{page.name}:{block.line}", "exec", dont_inherit=True)
    assert sys.version_info >= (3, 11)


def test_the_readme_names_extras_that_there_are() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert all(f"`{name}`" in text for name in extras if name not in ("bench", "dev"))
