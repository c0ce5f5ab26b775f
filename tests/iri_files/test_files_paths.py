"""Attacks on paths: whatever lies below the root, and whatever happens to it meanwhile, nothing leads outside."""

# ruff: noqa: PTH103, PTH104, PTH115, PTH116, PTH208, PT017
# (these tests are about the system's own calls)

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from file_operations import Do, tar
from hypothesis import given, settings
from hypothesis import strategies as st

from renkei.api.iri import _paths
from renkei.api.iri._paths import Root
from renkei.errors import Denied, RenkeiError, UsageError

NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.sampled_from(["a", "b", "c", "d", "..", "..", ".", ""])
WAYS = st.lists(STEPS, max_size=7).map("/".join)
TARGETS = st.one_of(
    WAYS,
    WAYS.map(lambda way: f"ROOT/{way}"),
    WAYS.map(lambda way: f"ROOT/../{way}"),
    WAYS.map(lambda way: f"/{way}"),
    st.sampled_from(["/", "/proc/self/root", "/proc/self/cwd", "ROOT", "ROOT/../secret/key", "../secret", "/dev/null"]),
)
MAKINGS = st.lists(
    st.tuples(
        st.sampled_from(["folder", "file", "link", "fifo"]),
        st.lists(NAMES, min_size=1, max_size=4).map("/".join),
        TARGETS,
    ),
    max_size=14,
)


@contextmanager
def built(makings: list[tuple[str, str, str]]) -> Generator[Path]:
    """Make a random tree below a root with a secret beside it."""
    top = Path(tempfile.mkdtemp(prefix="renkei-paths-"))
    try:
        root = top / "root"
        root.mkdir()
        (top / "secret").mkdir()
        (top / "secret" / "key").write_text("not for users")
        for kind, name, target in makings:
            path = root / name
            try:
                if not Path(os.path.realpath(path.parent)).is_relative_to(root):
                    continue
                if kind == "folder":
                    path.mkdir()
                elif kind == "file":
                    with open(path, "x") as file:
                        file.write(name)
                elif kind == "fifo":
                    os.mkfifo(path)
                else:
                    path.symlink_to(target.replace("ROOT", str(root)) or ".")
            except OSError:
                continue
        yield root
    finally:
        shutil.rmtree(top)


@given(MAKINGS, st.one_of(WAYS, TARGETS), st.booleans(), st.booleans())
@settings(max_examples=600, deadline=None)
def test_what_a_path_leads_to_is_inside_and_what_the_system_finds(
    makings: list[tuple[str, str, str]], path: str, follow: bool, may_lack: bool
) -> None:
    with built(makings) as root:
        n_open = len(os.listdir("/proc/self/fd"))
        try:
            with Root(root).find(path, follow=follow, may_lack=may_lack) as found:
                folder = Path(os.readlink(f"/proc/self/fd/{found.folder}"))
                assert folder.is_relative_to(root)
                if found.stat is None:
                    assert not os.path.lexists(folder / found.name)
                else:
                    real = Path(os.readlink(f"/proc/self/fd/{found.handle}"))
                    assert real.is_relative_to(root)
                    assert str(real) == str(root) + found.path.rstrip("/")
                    assert stat.S_ISLNK(found.stat.st_mode) <= (not follow)
                    names = "/".join(name for name in path.split("/") if name not in ("", "."))
                    with suppress(NotADirectoryError):  # by links to "file/.", which is the file here
                        assert os.path.samestat(os.stat(f"{root}/{names}", follow_symlinks=follow), found.stat)
        except RenkeiError as error:
            assert str(root) not in str(error)
        assert len(os.listdir("/proc/self/fd")) == n_open


@given(
    MAKINGS,
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "rm",
                    "mv",
                    "cp",
                    "mkdir",
                    "upload",
                    "symlink",
                    "compress",
                    "extract",
                    "chmod",
                    "ls",
                    "view",
                    "checksum",
                ]
            ),
            WAYS,
            WAYS,
            st.booleans(),
        ),
        max_size=8,
    ),
)
@settings(max_examples=250, deadline=None)
def test_no_sequence_of_operations_touches_or_shows_what_is_outside(
    makings: list[tuple[str, str, str]], asked: list[tuple[str, str, str, bool]]
) -> None:
    from renkei.api.iri._fileops import OPERATIONS
    from renkei.api.iri._filework import Work

    with built(makings) as root:
        secret = root.parent / "secret"
        before = (os.stat(secret).st_mode, os.stat(secret / "key"), sorted(os.listdir(root.parent)))
        work = Work(Root(root), lambda: None, ".renkei-test.part", content=tar(("file", "x", "y"), ("link", "l", "x")))
        n_open = len(os.listdir("/proc/self/fd"))
        for name, path, target, is_set in asked:
            args = {"path": path, "target_path": target, "link_path": target, "mode": "700", "dereference": is_set,
                "recursive": is_set, "parent": is_set}  # fmt: skip
            try:
                assert "not for users" not in str(OPERATIONS[name].output(work, args))
            except RenkeiError as error:
                assert str(root) not in str(error)
        assert len(os.listdir("/proc/self/fd")) == n_open
        now = (os.stat(secret).st_mode, os.stat(secret / "key"), sorted(os.listdir(root.parent)))
        assert (secret / "key").read_text() == "not for users"
        assert now[0] == before[0]
        assert (now[1].st_ino, now[1].st_mtime_ns, now[1].st_nlink) == (
            before[1].st_ino,
            before[1].st_mtime_ns,
            before[1].st_nlink,
        )
        assert now[2] == before[2]


@contextmanager
def flipping(root: Path) -> Generator[None]:
    """Have `d` below the root be a folder and a link to the secret in turn, as quickly as the machine can."""
    done = threading.Event()
    (root / "real").mkdir()
    (root / "link").symlink_to("../secret")
    os.rename(root / "real", root / "d")

    def flip() -> None:
        while not done.is_set():
            for name in ("real", "link"):
                other = "link" if name == "real" else "real"
                try:
                    os.rename(root / "d", root / name)
                    os.rename(root / other, root / "d")
                except OSError:
                    pass  # an operation got there first

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


RACES: list[Callable[[Do], object]] = [
    lambda do: do("view", path="/d/key"),
    lambda do: do("cp", path="/d/key", target_path="/stolen"),
    lambda do: do("cp", path="/d", target_path="/copy"),
    lambda do: do("cp", path="/mine", target_path="/d"),
    lambda do: do("upload", path="/d/new", content=b"new"),
    lambda do: do("upload", path="/d/key", content=b"mine"),
    lambda do: do("chmod", path="/d/key", mode="777"),
    lambda do: do("chmod", path="/d", mode="700"),
    lambda do: do("mkdir", path="/d/x/y", parent=True),
    lambda do: do("symlink", path="/mine", link_path="/d/l"),
    lambda do: do("ls", path="/", recursive=True),
    lambda do: do("rm", path="/d/key"),
    lambda do: do("mv", path="/d/key", target_path="/stolen"),
    lambda do: do("mv", path="/mine", target_path="/d/mine"),
    lambda do: do("extract", path="/tar", target_path="/d"),
    lambda do: do("compress", path="/d", target_path="/archive", dereference=True),
    lambda do: do("compress", path="/", target_path="/archive"),
]


def test_a_folder_that_becomes_a_link_in_the_middle_leads_nowhere(do: Do, root: Path) -> None:
    secret = root.parent / "secret"
    mode = secret.stat().st_mode
    (root / "tar").write_bytes(tar(("file", "key", "mine"), ("file", "sub/new", "mine")))
    outcomes = {True: 0, False: 0}
    with flipping(root):
        for _ in range(60):
            (root / "mine").write_text("mine")
            for race in RACES:
                try:
                    shown = race(do)
                    outcomes[True] += 1
                    assert "not for users" not in str(shown)
                    assert "'key'" not in str(shown)
                except RenkeiError:
                    outcomes[False] += 1
    assert os.listdir(secret) == ["key"]
    assert (secret / "key").read_text() == "not for users"
    assert secret.stat().st_mode == mode
    assert b"not for users" not in b"".join(
        p.read_bytes() for p in root.rglob("*") if p.is_file() and not p.is_symlink()
    )
    assert min(outcomes.values()) > 20  # both ways it went were really gone


def test_a_folder_cannot_be_removed_through_a_link_that_took_its_place(do: Do, root: Path) -> None:
    for _ in range(30):
        (root / "real").mkdir(exist_ok=True)
    shutil.rmtree(root / "real")
    with flipping(root):
        for _ in range(200):
            try:
                do("rm", path="/d")
            except RenkeiError:
                pass
            if not any((root / name).exists() for name in ("d", "real")):
                break
    assert (root.parent / "secret" / "key").exists()


def test_long_walks_hold_few_descriptors(root: Path) -> None:
    (root / "a").mkdir()
    with Root(root).find("a/../" * 800) as found:
        assert found.is_root
    deep = "/".join(["d"] * (_paths.DEPTH_MAX + 2))
    os.makedirs(root / deep)
    with pytest.raises(UsageError, match="deeper than 64"), Root(root).find(deep):
        pass


def test_links_of_the_machine_are_followed_below_the_root_only(root: Path) -> None:
    (root / "f").write_text("f")
    (root / "in").symlink_to(root / "f")
    (root / "beside").symlink_to(f"{root}-not/f")
    (root / "out").symlink_to("/etc")
    with Root(root).find("in") as found:
        assert found.path == "/f"
    for name in ("out", "beside", "out/passwd"):
        with pytest.raises(Denied, match="points out of the resource"), Root(root).find(name):
            pass


def test_links_follow_where_the_root_is_itself_behind_a_link(root: Path) -> None:
    (root / "f").write_text("f")
    alias = root.parent / "alias"
    alias.symlink_to(root)
    (root / "one").symlink_to(alias / "f")
    (root / "two").symlink_to(root / "f")
    for name in ("one", "two"):
        with Root(alias).find(name) as found:
            assert found.path == "/f"


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "c").symlink_to("c/x")
    for name in ("a", "b", "c"):
        with pytest.raises(UsageError, match="more than 40 links"), Root(root).find(name):
            pass


def test_a_root_that_is_gone_is_told_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="root cannot be opened") as error, Root(tmp_path / "gone").find("/"):
        pass
    assert str(tmp_path) not in str(error.value)
