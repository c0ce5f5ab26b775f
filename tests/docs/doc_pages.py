"""Reading pages of the documentation, and doing what they say.

A fenced block with a title is a file: ```toml title="campaign.toml". A block of ```console is run line by line: what
follows `$ ` is typed, the rest is what it prints. `exit=N` says with what its last command exits, if not with 0.
A block that is marked `fragment` shows a part of a file, `untested` what cannot be done in a test. `with=slurm` needs
that batch system: a private Slurm where one is installed, else the block is left out; of pbs, pjm and flux the
stand-ins of `renkei.testing`. `with=curl` needs that program, `with=optuna` that package.

Output is compared loosely: `...` stands for anything (so does the beginning of an id with `...` after it), a number for
any number, a blank for any blanks.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from types import TracebackType

from renkei.testing.standins import StandIn

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^```(\S*)[ ]?([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = "\x1e"
_LIMIT_S = 120.0
_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page; `line` is where it begins."""

    language: str
    words: str
    text: str
    line: int

    @property
    def title(self) -> str:
        found = re.search(r'title="([^"]+)"', self.words)
        return found[1] if found else ""

    @property
    def exit_code(self) -> int:
        found = re.search(r"\bexit=(\d+)", self.words)
        return int(found[1]) if found else 0

    @property
    def needs(self) -> str:
        found = re.search(r"\bwith=(\w+)", self.words)
        return found[1] if found else ""

    @property
    def is_run(self) -> bool:
        return self.language == "console" and "untested" not in self.words

    @property
    def is_shown_only(self) -> bool:
        return self.language in ("text", "") or bool({"fragment", "untested"} & set(self.words.split()))

    def commands(self) -> list[tuple[str, str]]:
        """Return (what is typed, what it prints) of a console block."""
        found: list[tuple[str, str]] = []
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            typed = [lines.pop(0)]
            while lines and (typed[-1].endswith("\\") or lines[0].startswith("> ")):
                typed.append(lines.pop(0).removeprefix("> "))
            found.append(("\n".join(typed), "\n".join(lines).strip()))
        return found


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = path.read_text("utf-8")
    return [Block(m[1], m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in _BLOCK.finditer(text)]


def pattern_of(expected: str) -> str:
    """Return the regular expression that what is shown on a page stands for."""
    parts: list[str] = []
    for token in re.findall(rf"[0-9a-f]{{8}}(?:-[0-9a-f]{{4}})?-\.\.\.|\.\.\.|\s+|(?<![\w.]){_NUMBER}|\S", expected):
        if token.endswith("..."):
            parts.append(r".*?")
        elif token.isspace():
            parts.append(r"\s+")
        else:
            parts.append(_NUMBER if re.fullmatch(_NUMBER, token) else re.escape(token))
    return re.sub(r"(?:\\s\+)?\.\*\?(?:\\s\+)?", ".*?", "".join(parts))


class Shell:
    """A shell in a folder of its own, in which a page is done from top to bottom."""

    def __init__(self, folder: Path, path: tuple[Path, ...] = (), had: "Had | None" = None) -> None:
        self.folder, self._had = folder, had or Had({}, frozenset())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RENKEI_")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment |= self._had.environment
        environment["TZ"] = "UTC"
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._kill()
        self._process.communicate()

    def do(self, page: Path) -> None:
        """Write every file of a page and run every command, in order; compare what each prints."""
        for block in blocks_of(page):
            where = f"{page.relative_to(ROOT)}:{block.line}"
            if block.title:
                file = self.folder / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, "utf-8")
                if block.text.startswith("#!"):
                    file.chmod(0o755)
            elif block.is_run:
                if block.needs not in self._had.missing:
                    self._check(block, where)
            else:
                assert block.is_shown_only, f"{where}: a block of {block.language} that nothing is done with"

    def _check(self, block: Block, where: str) -> None:
        commands = block.commands()
        for i, (typed, expected) in enumerate(commands):
            code, printed = self.run(typed)
            wanted = block.exit_code if i == len(commands) - 1 else 0
            assert code == wanted, f"{where}: {typed!r} exits with {code}, not {wanted}:\n{printed}"
            if expected:
                is_right = re.fullmatch(pattern_of(expected), printed.strip(), re.DOTALL)
                assert is_right, f"{where}: {typed!r} prints\n{printed}\nand not\n{expected}"

    def run(self, command: str) -> tuple[int, str]:
        """Run one command; return its exit code and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        alarm = Timer(_LIMIT_S, self._kill)
        alarm.start()
        try:
            text = f"{{ {command}\n}} < /dev/null\nprintf '{_MARK}%s{_MARK}' $?\n"
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()
            read = b""
            while read.count(_MARK.encode()) < 2:
                more = os.read(self._process.stdout.fileno(), 65536)
                assert more, f"{command!r} ended the shell, or took longer than {_LIMIT_S:g} s:\n{read.decode()}"
                read += more
        finally:
            alarm.cancel()
        printed, code, _ = read.decode().split(_MARK)
        return int(code), printed

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def do_page(page: Path, folder: Path) -> None:
    """Do what a page says in an empty folder; a page that has a pyproject.toml is installed there.

    Raises:
        AssertionError: Something does not do what the page says.
    """
    work, installed = folder / "work", folder / "installed"
    work.mkdir()
    projects = [block for block in blocks_of(page) if block.title == "pyproject.toml"]
    for block in projects:
        _install(block.text, installed)
    with (
        surroundings({block.needs for block in blocks_of(page)}, folder) as had,
        Shell(work, path=(work, installed) if projects else (), had=had) as shell,
    ):
        shell.do(page)


@dataclass(frozen=True, slots=True)
class Had:
    """What a page can be done with: variables of its shell, and what is not at hand."""

    environment: Mapping[str, str]
    missing: frozenset[str]


@contextmanager
def surroundings(needs: Iterable[str], folder: Path) -> Generator[Had]:
    """Keep what blocks need until the end; see the module."""
    environment, missing = dict[str, str](), set[str]()
    with ExitStack() as stack:
        for need in filter(None, needs):
            if need == "slurm":
                found = stack.enter_context(_slurm())
                environment |= found
                missing |= set() if found else {need}
            elif need in ("pbs", "pjm", "flux"):
                stand_in = StandIn(need, folder / need)
                stack.callback(stand_in.stop)
                path = (stand_in.bin, Path(sys.executable).parent, os.environ["PATH"])
                environment["PATH"] = os.pathsep.join(map(str, path))
            elif shutil.which(need) is None and find_spec(need) is None:
                missing.add(need)
        yield Had(environment, frozenset(missing))


@contextmanager
def _slurm() -> Generator[Mapping[str, str]]:
    """Keep a private Slurm until the end, and give the variables of its clients; none where it is not installed."""
    folder = Path(tempfile.mkdtemp(prefix="rk-docs-"))  # short: there is a socket in it
    argv = [sys.executable, str(ROOT / "tests" / "slurm" / "cluster.py"), str(folder)]
    cluster = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert cluster.stdout is not None
        assert cluster.stderr is not None
        line = cluster.stdout.readline().strip()
        if not line:
            said = cluster.stderr.read().strip()
            assert "not installed" in said, said
        name, _, value = line.partition("=")
        yield {name: value} if line else {}
    finally:
        cluster.terminate()
        try:
            cluster.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            cluster.kill()
            cluster.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _install(project_text: str, installed: Path) -> None:
    """Do what `pip install -e .` does besides making modules importable: make entry points known."""
    project = tomllib.loads(project_text)["project"]
    folder = installed / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, points in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
