"""Filesystem operations that change nothing."""

import base64
import hashlib
import os
import socket
from pathlib import Path

import pytest
from file_operations import Do

from renkei.api.iri import _filereads
from renkei.api.iri._filework import SMALL_BYTES, Limits
from renkei.errors import Denied, RenkeiError, UsageError

LINES = "".join(f"line {n}\n" for n in range(1, 21))


@pytest.fixture
def log(root: Path) -> Path:
    path = root / "log"
    path.write_text(LINES)
    return path


@pytest.mark.parametrize(
    ("asked", "text", "kind", "start", "end"),
    [
        ({}, LINES[:70], "lines", 0, 10),
        ({"lines": 2}, "line 1\nline 2\n", "lines", 0, 2),
        ({"lines": 0}, "", "lines", 0, 0),
        ({"lines": 99}, LINES, "lines", 0, 20),
        ({"bytes": 4}, "line", "bytes", 0, 4),
        ({"bytes": 10**30}, LINES, "bytes", 0, len(LINES)),
        ({"lines": 18, "skipTrailing": True}, "line 1\nline 2\n", "lines", 0, -18),
        ({"lines": 99, "skipTrailing": True}, "", "lines", 0, -99),
        ({"bytes": len(LINES) - 4, "skipTrailing": "true"}, "line", "bytes", 0, -(len(LINES) - 4)),
    ],
)
def test_head_shows_the_beginning(
    do: Do, log: Path, asked: dict[str, object], text: str, kind: str, start: int, end: int
) -> None:
    text = text if asked else "".join(f"line {n}\n" for n in range(1, 11))
    shown = {"content": text, "content_type": kind, "start_position": start, "end_position": end}
    assert do("head", path="/log", **asked) == shown


@pytest.mark.parametrize(
    ("asked", "text", "kind", "start"),
    [
        ({}, "".join(f"line {n}\n" for n in range(11, 21)), "lines", -10),
        ({"lines": 2}, "line 19\nline 20\n", "lines", -2),
        ({"lines": 99}, LINES, "lines", -99),
        ({"bytes": 3}, "20\n", "bytes", -3),
        ({"lines": 18, "skipHeading": True}, "line 19\nline 20\n", "lines", 18),
        ({"lines": 99, "skipHeading": True}, "", "lines", 99),
        ({"bytes": len(LINES) - 3, "skipHeading": True}, "20\n", "bytes", len(LINES) - 3),
    ],
)
def test_tail_shows_the_end(do: Do, log: Path, asked: dict[str, object], text: str, kind: str, start: int) -> None:
    shown = {"content": text, "content_type": kind, "start_position": start, "end_position": -1}
    assert do("tail", path="log", **asked) == shown


def test_lines_are_found_over_many_blocks_and_without_a_last_newline(
    do: Do, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_filereads, "BLOCK_BYTES", 7)
    text = LINES.rstrip("\n")
    (root / "log").write_text(text)
    for n in range(1, 21):
        lines = text.splitlines(keepends=True)
        assert do("tail", path="log", lines=n)["content"] == "".join(lines[-n:])
        assert do("head", path="log", lines=n)["content"] == "".join(lines[:n])
        assert do("head", path="log", lines=n, skipTrailing=True)["content"] == "".join(lines[:-n])
        assert do("tail", path="log", lines=n, skipHeading=True)["content"] == "".join(lines[n:])
    assert do("head", path="log", lines=30)["end_position"] == 20


def test_view_shows_a_part(do: Do, log: Path) -> None:
    shown = {"content": "ne 1", "content_type": "bytes", "start_position": 2, "end_position": 6}
    assert do("view", path="/log", offset=2, size=4) == shown
    assert do("view", path="/log")["content"] == LINES
    assert do("view", path="/log", offset=10**30)["content"] == ""


def test_bytes_that_are_no_text_are_shown_as_such(do: Do, root: Path) -> None:
    (root / "raw").write_bytes(b"a\xff\x00b")
    assert do("view", path="raw")["content"] == "a\ufffd\0b"


def test_no_answer_is_larger_than_five_megabytes(do: Do, root: Path) -> None:
    with open(root / "large", "wb") as file:
        file.truncate(SMALL_BYTES + 1)
    assert len(do("view", path="large")["content"]) == SMALL_BYTES
    for name, asked in [
        ("view", {"size": SMALL_BYTES + 1}),
        ("head", {"bytes": SMALL_BYTES + 1}),
        ("head", {"lines": 1}),
        ("tail", {"lines": 1}),
        ("tail", {"bytes": SMALL_BYTES + 1}),
        ("download", {}),
    ]:
        with pytest.raises(UsageError, match=str(SMALL_BYTES)):
            do(name, path="large", **asked)


@pytest.mark.parametrize("name", ["head", "tail"])
def test_head_and_tail_take_bytes_or_lines(do: Do, log: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not both"):
        do(name, path="log", bytes=1, lines=1)


def test_head_takes_no_negative_number(do: Do, log: Path) -> None:
    with pytest.raises(UsageError, match="not negative"):
        do("head", path="log", lines=-1)


def test_checksum_and_download_give_the_whole_content(do: Do, root: Path) -> None:
    content = os.urandom(600_000)
    (root / "raw").write_bytes(content)
    assert do("checksum", path="raw") == {"checksum": hashlib.sha256(content).hexdigest(), "algorithm": "SHA-256"}
    assert base64.b64decode(do("download", path="raw")) == content


def test_stat_says_what_the_system_says(do: Do, log: Path, root: Path) -> None:
    (root / "link").symlink_to("log")
    real = log.stat()
    found = do("stat", path="link", dereference=True)
    assert found == {
        key: int(getattr(real, f"st_{key}"))
        for key in ("mode", "ino", "dev", "nlink", "uid", "gid", "size", "atime", "ctime", "mtime")
    }
    assert do("stat", path="link")["ino"] == (root / "link").lstat().st_ino
    assert do("stat", path="/")["ino"] == root.stat().st_ino


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"plain\n", "ASCII text"),
        ("京都".encode(), "UTF-8 text"),
        (b"a" * 4095 + "é".encode(), "UTF-8 text"),
        (b"\xff\xfe\x01", "data"),
        (b"a\0b", "data"),
        (b"\x1f\x8b\x08", "gzip compressed data"),
        (b"\x89HDF\r\n\x1a\n", "Hierarchical Data Format (version 5) data"),
        (b"#!/bin/sh\n", "script text executable"),
    ],
)
def test_a_file_is_known_by_its_first_bytes(do: Do, root: Path, content: bytes, kind: str) -> None:
    (root / "it").write_bytes(content)
    assert do("file", path="it") == kind


def test_what_is_no_file_is_called_what_it_is_and_never_opened(do: Do, root: Path) -> None:
    os.mkfifo(root / "fifo")
    (root / "link").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "s"))
        kinds = {name: do("file", path=name) for name in ("fifo", "link", "s", "/")}
        assert kinds == {"fifo": "fifo", "link": "symlink", "s": "socket", "/": "directory"}
        for name in ("view", "head", "tail", "checksum", "download"):
            for path in ("fifo", "s", "/"):
                with pytest.raises(UsageError, match="not a file"):
                    do(name, path=path)


# ---- ls ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(root: Path) -> Path:
    (root / "a" / "deep").mkdir(parents=True)
    (root / "a" / "deep" / "x").write_text("xyz")
    (root / ".hidden").write_text("")
    (root / "b").write_text("b")
    (root / "to-b").symlink_to("b")
    (root / "out").symlink_to("/etc/passwd")
    (root / "a").chmod(0o750)
    return root


def test_ls_shows_a_folder(do: Do, tree: Path) -> None:
    os.utime(tree / "b", (0, 1_800_000_000))
    shown = {entry["name"]: entry for entry in do("ls", path="/", numericUid=True)}
    assert list(shown) == ["a", "b", "out", "to-b"]
    assert shown["b"] == {
        "name": "b",
        "type": "file",
        "link_target": None,
        "user": str(os.getuid()),
        "group": str(os.getgid()),
        "permissions": "rw-r--r--",
        "last_modified": "2027-01-15T08:00:00Z",
        "size": "1",
    }
    assert (shown["a"]["type"], shown["a"]["permissions"]) == ("directory", "rwxr-x---")
    assert (shown["to-b"]["type"], shown["to-b"]["link_target"]) == ("symlink", "b")


def test_ls_shows_names_of_users_unless_asked_for_numbers(do: Do, tree: Path) -> None:
    import pwd

    assert do("ls", path="/")[0]["user"] == pwd.getpwuid(os.getuid()).pw_name


def test_ls_shows_hidden_files_and_what_is_inside_when_asked(do: Do, tree: Path) -> None:
    assert [f["name"] for f in do("ls", path="/", showHidden="true")] == [".hidden", "a", "b", "out", "to-b"]
    assert [f["name"] for f in do("ls", path="/a", recursive=True)] == ["deep", "deep/x"]
    assert [f["name"] for f in do("ls", path="/b")] == ["b"]


def test_ls_shows_what_links_lead_to_but_not_outside(do: Do, tree: Path) -> None:
    shown = {entry["name"]: entry for entry in do("ls", path="/", dereference=True)}
    assert (shown["to-b"]["type"], shown["to-b"]["size"]) == ("file", "1")
    assert shown["out"]["type"] == "symlink"


def test_names_that_are_no_text_are_shown_with_escapes(do: Do, root: Path) -> None:
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff"))).write_text("")
    assert [f["name"] for f in do("ls", path="/")] == ["\\xff"]


def test_a_list_has_an_end(do: Do, root: Path) -> None:
    for n in range(6):
        (root / str(n)).write_text("")
    with pytest.raises(UsageError, match="more than 5 entries"):
        do("ls", path="/", limits=Limits(listed=5))


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ls", "stat", "file", "head", "tail", "view", "checksum", "download"])
@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("nope", UsageError, "'/nope' does not exist"),
        ("a/nope/x", UsageError, "'/a/nope' does not exist"),
        ("b/x", UsageError, "'/b' is a file, not a folder"),
        ("..", Denied, "leads out of the resource"),
        ("a/../../secret/key", Denied, "leads out of the resource"),
        ("out/x", Denied, "points out of the resource"),
        ("x\0y", UsageError, "NUL"),
        ("\udcff", UsageError, "not valid Unicode"),
        ("a/" + "n" * 256, UsageError, "more than 255 bytes"),
        ("a/" * 3000, UsageError, "6000 bytes"),
    ],
)
def test_bad_paths_are_refused_with_a_reason(
    do: Do, tree: Path, name: str, path: str, kind: type[RenkeiError], text: str
) -> None:
    with pytest.raises(kind, match=text) as error:
        do(name, path=path)
    assert str(tree) not in str(error.value)
