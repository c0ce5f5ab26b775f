"""Runs a command template in the run's directory and leaves the evidence there.

The directory then holds `request.json`, `stdout`, `stderr`, `exit_code` and, of a run that gave outputs,
`result.json`. Each of the last two appears in one step, so a reader finds it whole or not at all. Where a line of
shell before the command failed, `not_started` holds its exit code, and there is no `exit_code`.
"""

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from renkei.executors._frames import Done, Task
from renkei.executors._port import Command
from renkei.executors._script import argv_of, command_shell

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def run_command(task: Task, command: Command, spawned: "Callable[[subprocess.Popen[bytes]], None]") -> Done:
    """Run the command of a task to its end.

    Args:
        task: What to run.
        command: Its template.
        spawned: Told of the process as soon as it is there; it leads a process group of its own.
    """
    directory = Path(task.directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "request.json", json.dumps({"run": task.run, "parameters": task.parameters}, indent=1))
    argv, out_name, err_name = argv_of(command, task.parameters, task.run, task.directory), "stdout", "stderr"
    if _needs_shell(command):
        argv, out_name, err_name = ["/bin/bash", "-c", command_shell(command, argv, directory)], "job.log", "job.log"
    began = time.perf_counter()
    try:
        with open(directory / out_name, "ab") as out, open(directory / err_name, "ab") as err:
            process = subprocess.Popen(
                argv,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
                preexec_fn=die_with_parent,  # a worker has one thread, so this is safe here
            )
            spawned(process)
            code = process.wait()
    except OSError as error:
        return Done(task.index, "failed", 0.0, fault="facility", message=f"{argv[0]} cannot be started: {error}")
    seconds = time.perf_counter() - began
    if (directory / "exit_code").exists():  # the shell's own; what it exits with may be from the lines after
        code = int((directory / "exit_code").read_text())
    elif not (directory / "not_started").exists():
        write_whole(directory / "exit_code", str(code))
    return conclude(task.index, command, directory, code, seconds)


def conclude(index: int, command: Command, directory: Path, code: int, seconds: float) -> Done:
    """Return how a command ended, judged by its exit code and by what it left in its directory."""
    if (directory / "not_started").exists():
        message = f"a line before the command failed with exit code {code}"
        return Done(index, "failed", seconds, {}, {}, "facility", message, tail(directory), code)
    if code in command.infeasible_exit_codes:
        return Done(index, "infeasible", seconds, message=f"exit code {code}", tail=tail(directory), exit_code=code)
    if code != 0:
        message = f"ended by signal {-code}" if code < 0 else f"exit code {code}{shell_signal(code)}"
        return Done(index, "failed", seconds, {}, {}, "facility", message, tail(directory), code)
    outputs: dict[str, float] = {}
    try:
        if command.outputs_file:
            outputs = {str(k): float(v) for k, v in json.loads((directory / command.outputs_file).read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        message = f"{command.outputs_file} is not a JSON object of numbers: {error}"
        return Done(index, "failed", seconds, {}, {}, "facility", message, tail(directory), code)
    files = {name: str(directory / path) for name, path in command.files.items()}
    for name, path in files.items():
        if not Path(path).is_file():
            message = f"output file '{name}' was not written"
            return Done(index, "failed", seconds, {}, {}, "facility", message, tail(directory), code)
    write_whole(directory / "result.json", json.dumps({"outputs": outputs, "seconds": seconds}))
    return Done(index, "succeeded", seconds, outputs, files, exit_code=0)


def shell_signal(code: int) -> str:
    """Return ", which a shell gives for SIGKILL" of an exit code that a shell gives for a signal; "" of others."""
    name = signal_name(code)
    return f", which a shell gives for {name}" if name else ""


def signal_name(code: int) -> str:
    """Return the name of the signal that an exit code of a shell stands for, "" if it stands for none."""
    try:
        return signal.Signals(code - 128).name if code > 128 else ""
    except ValueError:
        return ""


def _needs_shell(command: Command) -> bool:
    plain = Command(
        command.argv, command.outputs_file, command.files, command.infeasible_exit_codes, command.is_literal
    )
    return command != plain


def tail(directory: Path, size_bytes: int = 2000, names: Sequence[str] = ("stderr", "stdout", "job.log")) -> str:
    """Return the last part of what a command wrote, in the first of the files in its directory that has anything."""
    for name in names:
        try:
            with open(directory / name, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - size_bytes))
                if text := file.read().decode(errors="replace").strip():
                    return text
        except OSError:
            continue
    return ""


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds it whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
