"""Pages are done two at a time, since most of what they do is waiting for a process, and all by one process of pytest,
since some of them listen at the ports that they name."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from doc_pages import do_page

AT_A_TIME = 2

DoneWell = Callable[[Path], None]


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "done_well" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("pages"))


@pytest.fixture(scope="session")
def done_well(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoneWell]:
    """Check that a page does what it says; all pages that tests of this session ask for are begun at once."""
    pages = [item.callspec.params["page"] for item in request.session.items if "done_well" in item.fixturenames]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        begun: dict[Path, Future[None]] = {
            page: pool.submit(do_page, page, tmp_path_factory.mktemp(page.stem))
            for page in reversed(pages)  # the tutorial, which takes longest, first
        }
        yield lambda page: begun[page].result()
