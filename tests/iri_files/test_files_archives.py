"""compress and extract, and archives that mean harm."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from file_operations import Do, tar

from renkei.api.iri import _archives
from renkei.api.iri._filework import Limits
from renkei.errors import Denied, RenkeiError, UsageError

NONE, BZIP2 = "urn:doe-iri:compression:none", "urn:doe-iri:compression:bzip2"


@pytest.fixture
def tree(root: Path) -> Path:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "a.txt").write_text("a")
    (root / "d" / "e" / "b.txt").write_text("b")
    (root / "d" / "e" / "c.dat").write_bytes(os.urandom(700_000))
    (root / "d" / "l").symlink_to("e/b.txt")
    return root


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        return opened.getnames()


@pytest.mark.parametrize("compression", ["urn:doe-iri:compression:gzip", NONE, BZIP2])
def test_what_is_compressed_can_be_extracted(do: Do, tree: Path, compression: str) -> None:
    shown = do("compress", source_path="/d", target_path="/d.tar", compression=compression)
    assert (shown["name"], shown["type"]) == ("/d.tar", "file")
    assert names_in(tree / "d.tar") == ["d", "d/a.txt", "d/e", "d/e/b.txt", "d/e/c.dat", "d/l"]
    assert do("extract", path="/d.tar", target_path="/out", compression=compression)["type"] == "directory"
    assert (tree / "out/d/e/c.dat").read_bytes() == (tree / "d/e/c.dat").read_bytes()
    assert str((tree / "out/d/l").readlink()) == "e/b.txt"
    do("extract", path="/d.tar", target_path="/out", compression=compression)  # replaces what is there
    assert (tree / "out/d/a.txt").read_text() == "a"


def test_a_single_file_and_the_root_can_be_compressed(do: Do, tree: Path) -> None:
    do("compress", path="/d/a.txt", target_path="/d/a.tgz")
    assert names_in(tree / "d/a.tgz") == ["a.txt"]
    do("compress", path="/", target_path="/d/all.tgz")
    assert "./d/all.tgz" not in names_in(tree / "d/all.tgz")
    assert "./d/e/b.txt" in names_in(tree / "d/all.tgz")


def test_links_are_followed_when_asked(do: Do, tree: Path) -> None:
    do("compress", path="/d", target_path="/d.tgz", dereference="true")
    with tarfile.open(tree / "d.tgz") as archive:
        assert archive.getmember("d/l").isreg()
    (tree / "d" / "out").symlink_to(tree.parent / "secret")
    with pytest.raises(Denied, match="points out"):
        do("compress", path="/d", target_path="/d.tgz", dereference=True)
    do("compress", path="/d", target_path="/d.tgz")
    (tree / "d" / "out").unlink()
    (tree / "d" / "e" / "up").symlink_to("..")
    with pytest.raises(UsageError, match="circle"):
        do("compress", path="/d", target_path="/d.tgz", dereference=True)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (r".*\.txt$", ["d/a.txt", "d/e/b.txt"]),
        (r"\./[ab].*\.txt", ["d/a.txt"]),
        (r"e/.*", ["d/e/b.txt", "d/e/c.dat"]),
        ("nothing", []),
    ],
)
def test_only_files_that_match_are_compressed(do: Do, tree: Path, pattern: str, names: list[str]) -> None:
    do("compress", path="/d", target_path="/d.tgz", match_pattern=pattern)
    assert names_in(tree / "d.tgz") == names


@pytest.mark.parametrize("pattern", ["*./[ab].*", "(", "a{99999999999}"])
def test_what_is_no_regular_expression_is_refused(do: Do, tree: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        do("compress", path="/d", target_path="/d.tgz", match_pattern=pattern)


def test_a_regular_expression_without_an_end_is_given_up(do: Do, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archives, "MATCH_S", 0.5)
    (tree / "d" / ("a" * 60)).write_text("")
    with pytest.raises(UsageError, match="took longer"):
        do("compress", path="/d", target_path="/d.tgz", match_pattern="(a+)+b")
    assert not (tree / "d.tgz").exists()


def test_what_cannot_be_written_is_refused(do: Do, tree: Path) -> None:
    for name, args, text in [
        ("compress", {"target_path": "/d"}, "is a directory"),
        ("compress", {"target_path": "/x/y.tgz"}, "does not exist"),
        ("compress", {"target_path": "/x.xz", "compression": "urn:doe-iri:compression:xz"}, "no compression 'xz'"),
        ("extract", {"target_path": "/x", "compression": "urn:doe-iri:compression:a:b"}, "no compression 'b'"),
        ("extract", {"target_path": "/x"}, "is a directory"),
    ]:
        with pytest.raises(UsageError, match=text):
            do(name, path="/d", **args)
    with pytest.raises(Denied):
        do("compress", path="/d", target_path="/../d.tgz")
    os.mkfifo(tree / "d" / "fifo")
    with pytest.raises(UsageError, match="fifo"):
        do("compress", path="/d", target_path="/d.tgz")
    assert sorted(path.name for path in tree.iterdir()) == ["d"]


# ---- archives that mean harm -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        [("file", "../out", "x")],
        [("file", "/etc/x", "x")],
        [("file", "a/../../out", "x")],
        [("folder", "..")],
        [("link", "l", "/etc/passwd")],
        [("link", "l", "../secret")],
        [("link", "a/l", "../../secret")],
        [("link", "l", "a/../../secret")],
        [("link", "l", "..")],
        [("folder", "a"), ("link", "l", "a"), ("link", "m", "l/../..")],
        [("hard", "h", "/etc/passwd")],
        [("hard", "h", "../secret/key")],
        [("hard", "h", "")],
        [("fifo", "f")],
        [("device", "n")],
        [("sparse", "s")],
        [("file", "ok", "x"), ("file", "n" * 300, "x")],
        [("file", "ok", "x"), ("file", "d/" * 70 + "f", "x")],
        [("file", ".", "x")],
    ],
)
def test_archives_that_lead_outside_are_refused_whole(do: Do, root: Path, members: list[tuple[str, str, str]]) -> None:
    (root / "bad.tgz").write_bytes(tar(("file", "first", "x"), *members))
    with pytest.raises(RenkeiError) as error:
        do("extract", path="/bad.tgz", target_path="/into")
    assert isinstance(error.value, Denied) or "not a readable archive" in str(error.value)
    assert sorted(path.name for path in root.iterdir()) == ["bad.tgz"]
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]


def test_links_in_an_archive_are_never_written_through(do: Do, root: Path) -> None:
    (root / "bad.tgz").write_bytes(tar(("folder", "a"), ("link", "l", "a"), ("file", "l/f", "x")))
    with pytest.raises(UsageError, match="no folder"):
        do("extract", path="/bad.tgz", target_path="/into")
    (root / "into2").mkdir()
    (root / "into2" / "l").symlink_to("../../secret")
    (root / "good.tgz").write_bytes(tar(("file", "l/f", "x")))
    with pytest.raises(UsageError, match="no folder"):
        do("extract", path="/good.tgz", target_path="/into2")
    (root / "over.tgz").write_bytes(tar(("file", "l", "mine")))
    do("extract", path="/over.tgz", target_path="/into2")
    assert (root / "into2" / "l").read_text() == "mine"
    assert not (root / "into2" / "l").is_symlink()
    assert [path.name for path in (root.parent / "secret").iterdir()] == ["key"]


def test_a_hard_link_is_to_a_file_that_was_extracted(do: Do, root: Path) -> None:
    (root / "t.tgz").write_bytes(tar(("file", "d/f", "x"), ("hard", "d/h", "d/f")))
    do("extract", path="/t.tgz", target_path="/into")
    assert (root / "into/d/h").samefile(root / "into/d/f")
    (root / "bad.tgz").write_bytes(tar(("file", "f", "x"), ("link", "d/e/l", "../../f"), ("hard", "h", "d/e/l")))
    with pytest.raises(UsageError, match="no file"):
        do("extract", path="/bad.tgz", target_path="/into")
    assert not (root / "into/h").is_symlink()


def test_permissions_that_could_harm_are_left_out(do: Do, root: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("f")
        info.mode, info.size, info.uid = 0o6777, 1, 0
        archive.addfile(info, io.BytesIO(b"x"))
    (root / "t.tgz").write_bytes(out.getvalue())
    do("extract", path="/t.tgz", target_path="/into")
    assert (root / "into/f").stat().st_mode & 0o7022 == 0


def test_bombs_are_given_up(do: Do, root: Path) -> None:
    bomb = tar(("file", "zeros", "\0" * 3_000_000))
    assert len(bomb) < 10_000
    (root / "bomb.tgz").write_bytes(bomb)
    with pytest.raises(UsageError, match="More than 1000000 bytes come out"):
        do("extract", path="/bomb.tgz", target_path="/into", limits=Limits(archive_bytes=1_000_000))
    (root / "many.tgz").write_bytes(tar(*(("file", str(n), "") for n in range(50))))
    with pytest.raises(UsageError, match="more than 40 entries"):
        do("extract", path="/many.tgz", target_path="/into", limits=Limits(entries=40))
    assert not (root / "into").exists()


def test_a_header_without_end_is_not_read_into_memory(do: Do, root: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 50_000_000
    (root / "t.tgz").write_bytes(gzip.compress(info.tobuf() + bytes(50_000_000), 9))
    with pytest.raises(UsageError, match="header that is too long"):
        do("extract", path="/t.tgz", target_path="/into")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        gzip.compress(b"no archive"),
        gzip.compress(os.urandom(2000)),
        tar(("file", "f", "x" * 5000))[:-40],
        gzip.compress(tar(("file", "f", "x" * 5000), mode="w:")[:3000]),
        tar(("file", "f", "x"), mode="w:bz2"),
    ],
    ids=["empty", "text", "zipped text", "zipped noise", "cut tar", "zipped cut tar", "bzip2"],
)
def test_what_is_no_archive_is_told_so(do: Do, root: Path, content: bytes) -> None:
    (root / "t.tgz").write_bytes(content)
    with pytest.raises(UsageError, match="not a readable archive"):
        do("extract", path="/t.tgz", target_path="/into")
    if not content.startswith(b"BZ"):
        with pytest.raises(UsageError, match="not a readable archive"):
            do("extract", path="/t.tgz", target_path="/into", compression=BZIP2)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_archives_end_with_one_sentence_or_well(do: Do, root: Path, seed: int) -> None:
    import random

    chance = random.Random(seed)
    content = bytearray(tar(("file", "a/f", "x" * 900), ("link", "l", "a/f"), ("folder", "b"), mode="w:"))
    for _ in range(chance.randint(1, 20)):
        content[chance.randrange(2600)] = chance.randrange(256)
    (root / "t.tar").write_bytes(content)
    try:
        do("extract", path="/t.tar", target_path="/into", compression=NONE)
    except RenkeiError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]
