"""Filesystem operations that change something."""

import os
import stat
from pathlib import Path

import pytest
from file_operations import Do, tar

from renkei.api.iri._filework import Limits
from renkei.errors import Denied, RenkeiError, UsageError


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_chmod_sets_the_mode(do: Do, root: Path) -> None:
    (root / "f").write_text("")
    (root / "l").symlink_to("f")
    shown = do("chmod", source_path="/l", mode="640")
    assert (shown["name"], shown["permissions"]) == ("/f", "rw-r-----")
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o640
    (root / "d").mkdir()
    assert do("chmod", path="/d", mode="0711")["permissions"] == "rwx--x--x"


@pytest.mark.parametrize("mode", ["", "7", "888", "4755", "u+x", "777\n", "0o777"])
def test_chmod_takes_three_octal_digits(do: Do, root: Path, mode: str) -> None:
    (root / "f").write_text("")
    with pytest.raises(UsageError, match="is no mode"):
        do("chmod", path="/f", mode=mode)


def test_chown_gives_what_the_site_may_give(do: Do, root: Path) -> None:
    import grp
    import pwd

    (root / "f").write_text("")
    me, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    assert do("chown", path="f", owner=me, group=group)["user"] == me
    with pytest.raises(UsageError, match="no such owner"):
        do("chown", path="f", owner="nobody-of-that-name")
    with pytest.raises(UsageError, match="Neither"):
        do("chown", path="f")


def test_what_the_system_forbids_is_denied(do: Do, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "f").write_text("")

    def forbid(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", forbid)
    with pytest.raises(Denied, match="'/f'"):
        do("chown", path="f", owner="root")


def test_mkdir_makes_folders(do: Do, root: Path) -> None:
    assert do("mkdir", path="/a")["type"] == "directory"
    assert do("mkdir", path="/a/b/c", parent="true")["name"] == "/a/b/c"
    assert do("mkdir", path="/a/b/c", parent=True)["name"] == "/a/b/c"
    assert (root / "a/b/c").is_dir()
    (root / "f").write_text("")
    for path, parent, text in [
        ("/a", False, "exists already"),
        ("/x/y", False, "'/x' does not exist"),
        ("/f", True, "exists already"),
        ("/f/x", True, "exists already"),
        ("/", True, "exists already"),
    ]:
        with pytest.raises(UsageError, match=text):
            do("mkdir", path=path, parent=parent)


def test_a_request_without_a_path_is_refused(do: Do) -> None:
    with pytest.raises(UsageError, match="has no path"):
        do("mkdir")


def test_symlink_makes_a_relative_link_inside(do: Do, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "f").write_text("f")
    shown = do("symlink", path="/f", link_path="/a/b/l")
    assert (shown["type"], shown["link_target"]) == ("symlink", "../../f")
    assert (root / "a/b/l").read_text() == "f"
    assert do("view", path="/a/b/l")["content"] == "f"
    with pytest.raises(UsageError, match="exists already"):
        do("symlink", path="/f", link_path="/a/b/l")
    for path in ("/../secret/key", "/nope"):
        with pytest.raises(RenkeiError):
            do("symlink", path=path, link_path="/l")
    assert not (root / "l").is_symlink()


def test_upload_writes_and_replaces(do: Do, root: Path) -> None:
    assert do("upload", path="/f", content=b"one") == "3 bytes were written to '/f'."
    (root / "f").chmod(0o600)
    (root / "l").symlink_to("f")
    do("upload", path="/l", content=b"two")
    assert (root / "f").read_bytes() == b"two"
    assert (root / "l").is_symlink()
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o600
    (root / "d").mkdir()
    with pytest.raises(UsageError, match="is a directory"):
        do("upload", path="/d", content=b"")
    with pytest.raises(UsageError, match="does not exist"):
        do("upload", path="/x/y", content=b"")
    assert names_in(root) == ["d", "f", "l"]


def test_upload_does_not_write_through_a_link_that_leads_outside(do: Do, root: Path) -> None:
    (root / "l").symlink_to("../secret/key")
    (root / "new").symlink_to("../secret/new")
    for path in ("l", "new"):
        with pytest.raises(Denied):
            do("upload", path=path, content=b"gotcha")
    assert (root.parent / "secret" / "key").read_text() == "not for users"
    assert names_in(root.parent / "secret") == ["key"]


def test_rm_removes_with_all_that_is_inside_but_not_what_links_lead_to(do: Do, root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "f").write_text("")
    (root / "d" / "out").symlink_to(root.parent / "secret")
    (root / "d" / "in").symlink_to("../keep")
    (root / "keep").mkdir()
    (root / "l").symlink_to("keep")
    assert do("rm", path="/d") == "'/d' was removed: 5 in all."
    do("rm", path="/l")
    assert names_in(root) == ["keep"]
    assert (root.parent / "secret" / "key").exists()
    with pytest.raises(UsageError, match="does not exist"):
        do("rm", path="/nope")


@pytest.mark.parametrize("path", ["/", "keep/..", "up", "."])
def test_the_root_cannot_be_removed_or_changed(do: Do, root: Path, path: str) -> None:
    (root / "keep").mkdir()
    (root / "keep" / "f").write_text("")
    (root / "up").symlink_to(".")
    if path == "up":
        do("rm", path=path)  # the link goes, not where it leads
        assert (root / "keep" / "f").exists()
        return
    for name, args in [
        ("rm", {"path": path}),
        ("mv", {"path": path, "target_path": "/keep/x"}),
        ("chmod", {"path": path, "mode": "777"}),
        ("chown", {"path": path, "owner": "root"}),
    ]:
        with pytest.raises(Denied, match="root itself"):
            do(name, **args)


def test_mv_renames_and_moves_into_folders(do: Do, root: Path) -> None:
    (root / "f").write_text("f")
    (root / "d").mkdir()
    assert do("mv", source_path="/f", target_path="/g")["name"] == "/g"
    assert do("mv", path="/g", target_path="/d")["name"] == "/d/g"
    (root / "h").write_text("h")
    do("mv", path="/h", target_path="/d/g")
    assert (root / "d" / "g").read_text() == "h"
    assert names_in(root) == ["d"]
    for target in ("/d/x", "/d"):
        with pytest.raises(UsageError, match="not possible"):
            do("mv", path="/d", target_path=target)
    with pytest.raises(Denied):
        do("mv", path="/d", target_path="/../d")


def test_mv_replaces_a_link_and_not_what_it_leads_to(do: Do, root: Path) -> None:
    (root / "f").write_text("f")
    (root / "g").write_text("g")
    (root / "l").symlink_to("g")
    do("mv", path="/f", target_path="/l")
    assert (root / "g").read_text() == "g"
    assert not (root / "l").is_symlink()


def test_cp_copies_files_and_folders(do: Do, root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "f").write_text("f")
    (root / "d" / "e" / "f").chmod(0o711)
    (root / "d" / "l").symlink_to("e/f")
    assert do("cp", path="/d/e/f", target_path="/g")["permissions"] == "rwx--x--x"
    do("cp", source_path="/d", target_path="/copy")
    assert (root / "copy/e/f").read_text() == "f"
    assert str((root / "copy/l").readlink()) == "e/f"
    do("cp", path="/d", target_path="/copy")
    assert (root / "copy/d/e/f").read_text() == "f"
    do("cp", path="/d", target_path="/followed", dereference=True)
    assert not (root / "followed/l").is_symlink()
    assert (root / "followed/l").read_text() == "f"


def test_cp_refuses_what_has_no_end(do: Do, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "up").symlink_to("..")
    for target in ("/d", "/d/x"):
        with pytest.raises(UsageError, match="into itself"):
            do("cp", path="/d", target_path=target)
    with pytest.raises(RenkeiError, match=r"circle|deeper"):
        do("cp", path="/d", target_path="/x", dereference=True)
    for n in range(5):
        (root / "d" / str(n)).write_text("")
    with pytest.raises(UsageError, match="more than 3 entries"):
        do("cp", path="/d", target_path="/y", limits=Limits(entries=3))
    os.mkfifo(root / "d" / "fifo")
    with pytest.raises(UsageError, match="is a fifo"):
        do("cp", path="/d/fifo", target_path="/z")


def test_cp_follows_no_link_to_the_outside(do: Do, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "out").symlink_to(root.parent / "secret" / "key")
    with pytest.raises(Denied, match="points out"):
        do("cp", path="/d", target_path="/x", dereference=True)
    with pytest.raises(Denied, match="points out"):
        do("cp", path="/d/out", target_path="/y", dereference=True)
    do("cp", path="/d", target_path="/z")
    with pytest.raises(Denied, match="points out"):
        do("view", path="/z/out")


def test_an_operation_that_fails_leaves_no_part_of_a_file(do: Do, root: Path) -> None:
    (root / "f").write_bytes(b"x" * 100)
    (root / "d").mkdir()
    (root / "d" / "f").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        do("cp", path="/f", target_path="/d")
    assert names_in(root / "d") == ["f"]


def test_a_link_that_cannot_be_put_leaves_nothing_behind(do: Do, root: Path) -> None:
    (root / "from").mkdir()
    (root / "from" / "l").symlink_to("x")
    (root / "to" / "from" / "l").mkdir(parents=True)
    with pytest.raises(UsageError, match="is a folder"):
        do("cp", path="/from", target_path="/to")
    (root / "t.tgz").write_bytes(tar(("link", "l", "x")))
    with pytest.raises(UsageError, match="is a folder"):
        do("extract", path="/t.tgz", target_path="/to/from")
    assert names_in(root / "to" / "from") == ["l"]
