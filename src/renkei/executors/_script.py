"""Writes the shell of jobs: what starts a command, and the script that a batch system runs for a job.

A job's directory holds `request.json` and `job.sh` from the beginning; the script adds `started` (it began: number
and node, written by whoever comes first and by nobody else), `stdout`, `stderr`, `job.log` (what the script itself and
the batch system said), `not_started` (a line before the payload failed: its exit code) or `exit_code`.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from renkei.executors._port import Command, Job
from renkei.model.space import Value

KILL_AFTER_S = 5
"""How long a payload at its time limit may take to obey SIGTERM before SIGKILL."""
BEGAN_BEFORE = 73
"""What a script exits with that finds that its run began before, or was given up."""
TIMED_OUT = (124, 137)
"""What `timeout` exits with when it had to end the payload, by SIGTERM or by SIGKILL."""


def argv_of(command: Command, parameters: dict[str, Value], run: str, directory: str) -> list[str]:
    """Return the program and its arguments, filled in."""
    if command.is_literal:
        return list(command.argv)
    values = {**parameters, "directory": directory, "run": run}
    return [part.format_map(values) for part in command.argv]


def command_shell(command: Command, argv: Sequence[str], directory: Path, limit_s: float = 0.0) -> str:
    """Return the shell that runs a command with everything that it asks for, writes `exit_code` and exits with it.

    Args:
        command: What it asks for.
        argv: The program and its arguments, filled in.
        directory: The run's.
        limit_s: When it is ended, in seconds; 0 is never.
    """
    words = _timeout(limit_s)
    if command.environment or command.is_clean:
        words += ["env", *(["-i"] if command.is_clean else []), *(f"{k}={v}" for k, v in command.environment.items())]
    words += [*shlex.split(command.launcher), *argv]
    streams = [
        f"<{shlex.quote(command.stdin or '/dev/null')}",
        f">{shlex.quote(command.stdout or str(directory / 'stdout'))}",
        f"2>{shlex.quote(command.stderr or str(directory / 'stderr'))}",
    ]
    return _whole(
        directory,
        command.before,
        _payload(Path(command.directory or directory), words, streams),
        command.after,
    )


def job_script(
    job: Job, number_variable: str, modules: Sequence[str], before: Sequence[str], after: Sequence[str], python: str
) -> str:
    """Return the script of a job.

    Args:
        job: What it runs; its directory is absolute.
        number_variable: The environment variable that holds the job's number.
        modules: Environment modules to load.
        before: Lines of the site that come first.
        after: Lines of the site that come last.
        python: The interpreter on the nodes.
    """
    directory = Path(job.directory)
    loads = [_NEED_MODULE, *(f"module load {shlex.quote(module)}" for module in modules)] if modules else []
    head = _HEAD.format(
        run=job.run, procedure=job.procedure, directory=shlex.quote(job.directory), number=number_variable,
        began_before=BEGAN_BEFORE,
    )  # fmt: skip
    if isinstance(job.target, Command):
        argv = argv_of(job.target, job.parameters, job.run, job.directory)
        command = msgspec.structs.replace(
            job.target, before=(*loads, *before, *job.target.before), after=(*job.target.after, *after)
        )
        return head + command_shell(command, argv, directory, job.time_limit_s)
    threads = str(job.resources.cores)
    words = [
        *_timeout(job.time_limit_s), "env", "PYTHONUNBUFFERED=1", f"OMP_NUM_THREADS={threads}",
        f"OPENBLAS_NUM_THREADS={threads}", f"MKL_NUM_THREADS={threads}",
        *([] if job.resources.gpus else ["JAX_PLATFORMS=cpu"]),
        python, "-m", "renkei.executors._single", job.directory,
    ]  # fmt: skip
    payload = _payload(directory, words, ["</dev/null", ">stdout", "2>stderr"])
    return head + _whole(directory, [*loads, *before], payload, after)


def array_script(folder: Path, index_variable: str) -> str:
    """Return the script of an array whose members are linked in `folder` by their index."""
    return f'#!/bin/bash\nexec /bin/bash {shlex.quote(str(folder))}/"${index_variable}"/job.sh\n'


_NEED_MODULE = '[ "$(type -t module)" ] || { set +e; . /etc/profile; set -e; }'

_HEAD = """\
#!/bin/bash
# Run {run} of {procedure}.
cd {directory} || exit 72
set -C
{{ echo "${number} $HOSTNAME" >started; }} 2>/dev/null || {{
  echo "This run began before, or was given up, or its directory cannot be written: it is not run." >&2
  exit {began_before}
}}
set +C
"""

_BODY = """\
renkei_stage=before
renkei_end() {{
  local code=$?
  case $renkei_stage in
    before) echo $code >{directory}/not_started ;;
    after) echo $renkei_code >{directory}/exit_code.part && mv -f {directory}/exit_code.part {directory}/exit_code ;;
  esac
}}
trap renkei_end EXIT
set -e
{before}
set +e
renkei_stage=payload
{payload}
renkei_code=$?
renkei_stage=after
{after}
exit $renkei_code
"""


def _whole(directory: Path, before: Sequence[str], payload: str, after: Sequence[str]) -> str:
    return _BODY.format(
        directory=shlex.quote(str(directory)), before="\n".join(before), payload=payload, after="\n".join(after)
    )


def _payload(where: Path, words: Sequence[str], streams: Sequence[str]) -> str:
    return f"( cd {shlex.quote(str(where))} && exec {shlex.join(words)} {' '.join(streams)} )"


def _timeout(limit_s: float) -> list[str]:
    return ["timeout", "-k", str(KILL_AFTER_S), f"{limit_s:.3f}"] if limit_s else []
