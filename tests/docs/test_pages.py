"""What every page must be: linked rightly, about code that is there, about nothing but renkei."""

import re
from pathlib import Path

import pytest
from doc_pages import DOCS, ROOT

PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))])
CODE = {path: path.read_text("utf-8") for path in (ROOT / "src" / "renkei").rglob("*.py")}

_ids = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_files_that_are_named_are_there(page: Path) -> None:
    for path in re.findall(r"`((?:src|tests|docs|benchmarks)/[\w/.-]+)`", page.read_text("utf-8")):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_no_path_of_one_machine(page: Path) -> None:
    assert not re.findall(r"(?<![\w.])/(?:root|home|work|tmp|Users)/\S*", page.read_text("utf-8"))


@pytest.mark.parametrize("page", sorted((DOCS / "explanations").rglob("*.md")), ids=lambda page: page.stem)
def test_code_that_is_explained_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for path, name in re.findall(r"`((?:src/renkei/)?[\w/]+\.py)`\s+\(`([\w.]+)`", text):
        code = CODE[ROOT / "src" / "renkei" / path.removeprefix("src/renkei/")]
        assert all(re.search(rf"\b(?:def|class) {part}\b", code) for part in name.split(".")), f"{path}: {name}"
    for kind, name in re.findall(r"`([A-Z]\w+)\.(\w+)`", text):
        homes = [code for code in CODE.values() if re.search(rf"^class {kind}\b", code, re.MULTILINE)]
        assert any(re.search(rf"\bdef {name}\b", code) for code in homes), f"{kind}.{name}"


def test_every_decision_is_listed() -> None:
    folder = DOCS / "explanations" / "decisions"
    listed = (folder / "README.md").read_text("utf-8")
    files = sorted(path for path in folder.glob("0*.md"))
    assert [int(path.name[:4]) for path in files] == list(range(1, len(files) + 1))
    for path in files:
        text = path.read_text("utf-8")
        title = text.split("\n")[0].removeprefix("# ")
        assert f"[{path.name[:4]}]({path.name}) | {title} |" in listed
        assert re.search(r"^Decided 20\d\d-\d\d-\d\d\.$", text, re.MULTILINE)
