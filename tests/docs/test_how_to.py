"""Every file and every command of the how-to pages does what the page says."""

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from doc_pages import DOCS, ROOT, Block, blocks_of

from renkei.model.procedure import Output, ProcedureSpec
from renkei.model.serving import JobsTable
from renkei.model.site_file import SiteFile, parse_site
from renkei.model.space import Real
from renkei.policy import SitePolicies
from renkei.policy._reading import ANNOTATIONS
from renkei.policy._schema import FACTS, PER_RUN, RESOURCE
from renkei.site import job_offer

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


SITE_FILES = [
    pytest.param(block, id=f"{page.stem}:{block.line}")
    for page in [*PAGES, *sorted((DOCS / "tutorials").glob("*.md"))]
    for block in blocks_of(page)
    if block.language == "toml" and (keys := set(tomllib.loads(block.text))) and keys <= set(SiteFile.model_fields)
]


@pytest.mark.parametrize("block", SITE_FILES)
def test_site_files_on_the_pages_can_be_read_with_what_they_only_suggest(block: Block) -> None:
    """Keys that stand behind a # are read, too."""
    text = re.sub(r"^# (\w+ = )", r"\1", block.text, flags=re.MULTILINE)
    head = "" if "[site]" in text else '[site]\nname = "a"\ninstitution = "a"\nkey = "a.key"\n'
    file = parse_site(head + text)
    assert file.model_fields_set >= set(tomllib.loads(text))


def test_every_engine_has_a_page_with_a_site_file() -> None:
    read = [parse_site(block.text) for (block,) in (each.values for each in SITE_FILES) if "[site]" in block.text]
    assert {file.executor.kind for file in read} == {"local", "slurm", "pbs", "pjm", "flux", "iri"}


def test_policies_on_the_pages_are_taken() -> None:
    anneal = ProcedureSpec(
        "lab.anneal", "1.0", "Anneal.", (Real("temperature", 300.0, 900.0, "K"),), (Output("value", "MPa"),)
    )
    known = {"Team": ["alloys"], "Institution": ["us-lab", "jp-lab"], "Party": ["us", "jp"]}
    policies = [block for page in PAGES for block in blocks_of(page) if block.language == "cedar"]
    assert len(policies) >= 2
    for block in policies:
        SitePolicies(block.text, [anneal, job_offer(JobsTable()).spec], known=known)


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
