"""What the stand-ins share: jobs that really run, kept in a folder that every command opens under a lock.

There is no daemon. Every command, and the end of every job, starts what there is room for. Each job has a
supervisor, a process that was forked from the command that started the job: it waits for the job, ends it at its
time limit or when it is cancelled, and writes down how it ended.
"""

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypedDict

TICK_S = 0.02


class Job(TypedDict):
    """One job, or one sub-job of an array. `state` is held, queued, starting, running, ending, ended or forgotten."""

    key: str
    array: str
    index: int
    name: str
    state: str
    script: str
    arguments: list[str]
    directory: str
    environment: dict[str, str]
    stdout: str
    stderr: str
    limit_s: float
    submitted: float
    started: float
    ended: float
    code: int
    signal: int
    why: str
    supervisor: int
    group: int
    said: dict[str, str]


class Settings(TypedDict):
    """How a stand-in behaves; a test writes it."""

    slots: int
    start_s: float
    end_s: float
    grace_s: float
    history_s: float
    queues: list[str]
    accounts: list[str]
    max_nodes: int
    max_limit_s: float
    name_length: int
    is_zero_on_error: bool


DEFAULTS: Settings = {
    "slots": 4,
    "start_s": 0.0,
    "end_s": 0.0,
    "grace_s": 0.5,
    "history_s": 1e9,
    "queues": [],
    "accounts": [],
    "max_nodes": 384,
    "max_limit_s": 72 * 3600.0,
    "name_length": 0,
    "is_zero_on_error": False,
}


class Answer(NamedTuple):
    """What a command writes and exits with."""

    out: str = ""
    err: str = ""
    code: int = 0


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """A command says no.

    Args:
        text: What it writes.
        code: What it exits with.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.text, self.code = text, code


class Store:
    """The state of a stand-in, held under its lock from `__enter__` to `__exit__`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.jobs: dict[str, Job] = {}
        self.next = 1001
        self.settings: Settings = DEFAULTS
        self._lock = -1

    def __enter__(self) -> "Store":
        self._lock = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.settings = DEFAULTS | read(f"{self.folder}/settings.json", {})
        state = read(f"{self.folder}/state.json", {"next": 1001, "jobs": {}})
        self.next, self.jobs = state["next"], state["jobs"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        write(f"{self.folder}/state.json", {"next": self.next, "jobs": self.jobs})
        os.close(self._lock)

    def leave(self) -> None:
        """Let go of the lock in a child, which has inherited it, without touching the state."""
        os.close(self._lock)

    def number(self) -> int:
        """Return the next job number."""
        self.next += 1
        return self.next - 1

    def add(self, key: str, script: str, **what: Any) -> Job:
        """Keep a job; the script is copied, as batch systems do."""
        spool = f"{self.folder}/spool-{key}"
        with open(spool, "w") as file:
            file.write(script)
        job = Job(
            key=key, array="", index=0, name="", state="queued", script=spool, arguments=[], directory="/",
            environment={}, stdout="/dev/null", stderr="/dev/null", limit_s=3600.0, submitted=time.time(),
            started=0.0, ended=0.0, code=0, signal=0, why="", supervisor=0, group=0, said={},
        )  # fmt: skip
        job.update(what)  # type: ignore[typeddict-item]
        self.jobs[key] = job
        return job

    def called(self, key: str) -> list[Job]:
        """Return the jobs that a number means: one job or sub-job, or all of an array."""
        return [job for job in self.jobs.values() if key in (job["key"], job["array"])]

    def advance(self) -> None:
        """Start what there is room for; drop what has left the history."""
        now = time.time()
        for key, job in list(self.jobs.items()):
            if job["state"] == "ended" and now - job["ended"] > self.settings["history_s"]:
                del self.jobs[key]
        n_busy = sum(job["state"] in ("starting", "running", "ending") for job in self.jobs.values())
        for job in self.jobs.values():
            if n_busy >= self.settings["slots"]:
                break
            if job["state"] == "queued":
                job["state"] = "starting"
                job["supervisor"] = supervise(self, job)
                n_busy += 1

    def cancel(self, job: Job) -> None:
        """End a job: at once if it waits, by signals if it runs."""
        if job["state"] in ("held", "queued"):
            job.update(state="ended", why="cancel", ended=time.time())
        elif job["state"] in ("starting", "running"):
            write(f"{self.folder}/cancel-{job['key']}", True)


def supervise(store: Store, job: Job) -> int:
    """Fork the supervisor of a job and return its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        store.leave()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, 64)
        _run(store.folder, job["key"], store.settings)
    finally:
        os._exit(0)


def _run(folder: str, key: str, settings: Settings) -> None:
    import subprocess  # only a supervisor needs it, and commands must start fast

    cancelled = f"{folder}/cancel-{key}"
    began = time.time()
    while time.time() - began < settings["start_s"] and not os.path.exists(cancelled):  # noqa: PTH110 - starts faster
        time.sleep(TICK_S)
    with Store(folder) as store:
        job = store.jobs.get(key)
        if job is None:
            return
        if os.path.exists(cancelled):  # noqa: PTH110
            job.update(state="ended", why="cancel", ended=time.time())
            store.advance()
            return
        try:
            with open(job["stdout"], "ab") as out, open(job["stderr"], "ab") as err:
                argv = [job["script"], *job["arguments"]]
                if not _has_shebang(job["script"]):
                    argv.insert(0, "/bin/bash")
                os.chmod(job["script"], 0o700)  # noqa: PTH101
                process = subprocess.Popen(
                    argv,
                    cwd=job["directory"],
                    env=job["environment"],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    process_group=0,
                )
        except OSError:
            job.update(state="ended", why="start", ended=time.time())
            store.advance()
            return
        job.update(state="running", started=time.time(), group=process.pid)
    why, ending_at = "", 0.0
    while process.poll() is None:
        now = time.time()
        if not why and os.path.exists(cancelled):  # noqa: PTH110
            why = "cancel"
        elif not why and now - job["started"] > job["limit_s"]:
            why = "time"
        if why and not ending_at:
            ending_at = now
            _signal(process.pid, int(job["said"].get("limit_signal", signal.SIGTERM)) if why == "time" else 15)
        elif ending_at and now - ending_at > settings["grace_s"]:
            _signal(process.pid, signal.SIGKILL)
        time.sleep(TICK_S)
    _signal(process.pid, signal.SIGKILL)  # what the job left behind
    if settings["end_s"]:
        with Store(folder) as store:
            if key in store.jobs:
                store.jobs[key]["state"] = "ending"
        time.sleep(settings["end_s"])
    with Store(folder) as store:
        if key in store.jobs:
            code = process.returncode
            store.jobs[key].update(
                state="ended", why=why, ended=time.time(), code=max(code, 0), signal=-min(code, 0), group=0
            )
        store.advance()


def _has_shebang(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def read(path: str, default: Any) -> Any:
    """Return what a JSON file holds, or `default` where there is none."""
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def write(path: str, value: Any) -> None:
    """Write a JSON file in one step."""
    part = f"{path}.{os.getpid()}"
    with open(part, "w") as file:
        json.dump(value, file)
    os.replace(part, path)


Program = Callable[[Store, list[str]], Answer]


def main(programs: dict[str, Program], no_answer: dict[str, Answer]) -> None:
    """Run the command `sys.argv[2]` of the stand-in whose state is in the folder `sys.argv[1]`, and exit.

    Args:
        programs: What each command does.
        no_answer: What each command says when its server cannot be reached.
    """
    folder, name, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    fault = _fault(folder, name, arguments)
    kind, text = fault.get("kind", ""), fault.get("text", "")
    if kind == "late":
        time.sleep(float(text))
    elif kind == "hang":
        time.sleep(3600)
    if kind == "down":
        answer = no_answer[name]
    elif kind == "refuse":
        answer = Answer(err=text + "\n", code=int(fault.get("code", 1)))
    else:
        try:
            with Store(folder) as store:
                store.advance()
                answer = programs[name](store, arguments)
                store.advance()
                if kind == "lose":  # taken and answered, and then forgotten before it begins
                    for job in store.jobs.values():
                        if job["state"] in ("queued", "starting"):
                            job["state"] = "forgotten"
                            _end(job)
        except Refused as refused:
            answer = Answer(err=refused.text + "\n", code=refused.code)
    if kind == "hang-after":
        time.sleep(3600)
    elif kind == "lost-answer":
        answer = no_answer[name]
    elif kind == "garbage":
        answer = Answer(text or '\x00\x1b[31m<html>proxy error</html>\n{"Jobs": [', "", 0)
    sys.stdout.write(answer.out)
    sys.stderr.write(answer.err)
    sys.exit(answer.code)


def _end(job: Job) -> None:
    for pid in (job["supervisor"], job["group"] and -job["group"]):
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _fault(folder: str, name: str, arguments: Sequence[str]) -> dict[str, str]:
    """Write the call down, and take the fault that is meant for it."""
    lock = os.open(f"{folder}/calls.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with open(f"{folder}/calls", "a") as file:
            file.write(json.dumps([time.time(), name, *arguments]) + "\n")
        faults: list[dict[str, Any]] = read(f"{folder}/faults.json", [])
        for fault in faults:
            if fault["command"] == name and fault["times"] > 0:
                fault["times"] -= 1
                write(f"{folder}/faults.json", faults)
                return fault
        return {}
    finally:
        os.close(lock)


def options(
    arguments: list[str], short: str, long: Sequence[str], error: Callable[[str], Refused]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return options in order, and the rest.

    Args:
        arguments: Of a command.
        short: Letters of options; a ":" behind one says that it takes a value.
        long: Long options; a "=" behind one says that it takes a value.
        error: What to raise of an option that is not known.

    Raises:
        Refused: An option is not known.
    """
    import getopt

    try:
        found, rest = getopt.gnu_getopt(arguments, short, list(long))
    except getopt.GetoptError as mistake:
        raise error(mistake.opt) from mistake
    return found, rest


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return what stands before and after the "=" of each text."""
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def seconds(text: str) -> float:
    """Return how long "H:MM:SS", "MM:SS" or "SS" is."""
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def hms(seconds: float, n_digits: int = 2) -> str:
    """Return a time as "HH:MM:SS", with so many digits of hours at least."""
    whole = int(seconds)
    return f"{whole // 3600:0{n_digits}d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def indices(text: str, error: Callable[[], Refused]) -> list[int]:
    """Return the sub-jobs that "0-9" or "1-9:2" means.

    Raises:
        Refused: It is not such a range.
    """
    span, _, step = text.partition(":")
    first, _, last = span.partition("-")
    if not (first.isdigit() and last.isdigit() and (step or "1").isdigit()) or int(first) > int(last):
        raise error()
    return list(range(int(first), int(last) + 1, int(step or "1")))
