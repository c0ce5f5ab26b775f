"""A stand-in for Flux: flux batch, submit, jobs, cancel, job urgency.

Where it is known from (D documented, C captured from flux-core 0.89 or in its tests, K from hearsay):

- C: ids as f58 on stdout, 91088924704768 as ƒiFkbMhFM, or with a plain f in an ASCII locale; `flux jobs --json`
  gives {"jobs": […]}, one object where one id was asked for, and nothing with exit code 1 where that id is not known;
  the keys of a job; waitstatus 36352 and returncode 142 at the time limit, -128 of a job that never ran, 143 of one
  that was ended; `flux-batch: ERROR: batch does not appear to start with '#!'`, `ERROR: Number of slots to allocate
  must be specified`; jobs are listed newest first, 1000 at most unless -c says otherwise.
- D: options; --time-limit in minutes or with a unit; states, results; jobs get the environment of who submits.
- K: the text for a queue that is not there; what `flux cancel` says of jobs that are over or not known.
"""

import json
import locale
import os
import time
from typing import Any

from .engine import Answer, Job, Refused, Store, main, options

STATES = {"held": "SCHED", "queued": "SCHED", "starting": "SCHED", "running": "RUN", "ending": "CLEANUP"}
RESULTS = {"cancel": "CANCELED", "time": "TIMEOUT", "start": "FAILED"}
DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def f58(number: int) -> str:
    """Return a job id as Flux writes it."""
    text = ""
    while number or not text:
        number, digit = divmod(number, 58)
        text = DIGITS[digit] + text
    return ("ƒ" if _is_utf8() else "f") + text


def _is_utf8() -> bool:
    return locale.getlocale(locale.LC_CTYPE)[1] in ("UTF-8", "utf8")


def _parse(text: str, command: str) -> int:
    try:
        if text.startswith(("ƒ", "f")):
            number = 0
            for digit in text[1:]:
                number = number * 58 + DIGITS.index(digit)
            return number
        return int(text, 0)
    except ValueError as error:
        raise Refused(f"{command}: ERROR: invalid JobID value: {text}", 1) from error


def _duration(text: str, command: str) -> float:
    try:
        for unit, seconds in UNITS.items():
            if text.endswith(unit) and text.removesuffix(unit).replace(".", "", 1).isdigit():
                return float(text.removesuffix(unit)) * seconds
        return float(text) * 60
    except ValueError as error:
        raise Refused(f"{command}: ERROR: invalid time limit specified: {text}", 1) from error


def batch(store: Store, arguments: list[str], command: str = "flux-batch") -> Answer:
    """Take a job: of `flux batch` a script, of `flux submit` a command."""
    short = "N:n:c:g:t:q:B:o:S:x"
    long = [
        "nodes=", "nslots=", "ntasks=", "cores-per-slot=", "gpus-per-slot=", "cores-per-task=", "gpus-per-task=",
        "time-limit=", "queue=", "bank=", "job-name=", "output=", "error=", "cwd=", "env=", "setattr=", "exclusive",
        "requires=", "dependency=", "urgency=", "flags=", "wrap",
    ]  # fmt: skip

    def unknown(option: str) -> Refused:
        return Refused(f"usage: {command.replace('-', ' ')} [OPTIONS...] COMMAND [ARGS...]\n"
                       f"{command}: error: unrecognized arguments: {option}", 2)  # fmt: skip

    found, rest = options(arguments, short, long, unknown)
    one = dict(found)
    if not rest:
        raise Refused(f"{command}: ERROR: batch script or command is missing", 1)
    is_batch = command == "flux-batch"
    if is_batch:
        try:
            with open(rest[0]) as file:
                script = file.read()
        except OSError as error:
            raise Refused(f"{command}: ERROR: [Errno 2] No such file or directory: '{rest[0]}'", 1) from error
        if not script.startswith("#!"):
            raise Refused(f"{command}: ERROR: {rest[0]} does not appear to start with '#!'", 1)
    else:
        import shlex

        script = f"#!/bin/sh\nexec {shlex.join(rest)}\n"
    nodes, slots = one.get("-N", one.get("--nodes", "")), one.get("-n", one.get("--nslots", ""))
    if is_batch and not nodes and not slots:
        raise Refused(f"{command}: ERROR: Number of slots to allocate must be specified", 1)
    queue, queues = one.get("-q", one.get("--queue", "")), store.settings["queues"]
    bank, banks = one.get("-B", one.get("--bank", "")), store.settings["accounts"]
    if queues and queue not in queues:
        raise Refused(f"{command}: ERROR: Invalid queue '{queue}' specified", 1)
    if banks and bank not in banks:
        raise Refused(f"{command}: ERROR: cannot find user/bank or user/default bank entry for uid: {os.getuid()}", 1)
    if int(nodes or 1) > store.settings["max_nodes"]:
        raise Refused(f"{command}: ERROR: unsatisfiable request", 1)
    limit_s = _duration(one.get("-t", one.get("--time-limit", "0")), command)
    if limit_s > store.settings["max_limit_s"]:
        raise Refused(
            f"{command}: ERROR: requested duration exceeds policy limit of {store.settings['max_limit_s']:g}s", 1
        )
    number = (store.number() << 24) | 0x1A2B
    name = one.get("--job-name", os.path.basename(rest[0]))  # noqa: PTH119
    directory = one.get("--cwd", os.getcwd())  # noqa: PTH109 - starts faster than pathlib
    ids = {"{{id}}": f58(number), "{{name}}": name, "{{jobid}}": f58(number)}
    out, err = one.get("--output", "flux-{{id}}.out" if is_batch else "/dev/null"), one.get("--error", "")
    for mark, value in ids.items():
        out, err = out.replace(mark, value), err.replace(mark, value)
    store.add(
        str(number),
        script,
        name=name,
        arguments=rest[1:] if is_batch else [],
        directory=directory,
        environment={**os.environ, "FLUX_JOB_ID": f58(number), "FLUX_URI": "local:///run/flux/standin"},
        stdout=os.path.join(directory, out),  # noqa: PTH118
        stderr=os.path.join(directory, err or out),  # noqa: PTH118
        limit_s=limit_s or 1e9,
        state="held" if one.get("--urgency") in ("0", "hold") else "queued",
        said={"queue": queue, "bank": bank, "nodes": nodes or "1", "slots": slots or nodes, "limit_signal": "14"},
    )
    return Answer(f58(number) + "\n")


def submit(store: Store, arguments: list[str]) -> Answer:
    """See `batch`."""
    return batch(store, arguments, "flux-submit")


def jobs(store: Store, arguments: list[str]) -> Answer:
    """Show jobs, in JSON only."""
    long = ["json", "count=", "filter=", "since=", "name=", "user=", "queue=", "format=", "suppress-header"]

    def unknown(option: str) -> Refused:
        return Refused(
            f"usage: flux jobs [OPTIONS...] [jobids ...]\nflux-jobs: error: unrecognized arguments: {option}", 2
        )

    found, rest = options(arguments, "aAc:f:u:n", long, unknown)
    one = dict(found)
    if "--json" not in one:
        raise Refused("flux-jobs: ERROR: this stand-in knows flux jobs --json only", 1)
    ids = [_parse(text, "flux-jobs") for text in rest]
    known = {int(job["key"]): job for job in store.jobs.values() if job["state"] != "forgotten"}
    if ids:
        missing = [number for number in ids if number not in known]
        err = "".join(f"flux-jobs: ERROR: JobID {f58(number)} unknown\n" for number in missing)
        shown = [_view(known[number]) for number in ids if number in known]
        if len(ids) == 1:
            return Answer(json.dumps(shown[0]) + "\n" if shown else "", err, int(bool(missing)))
        return Answer(json.dumps({"jobs": shown}) + "\n", err, int(bool(missing)))
    since, count = float(one.get("--since", "0")), int(one.get("-c", one.get("--count", "1000")))
    is_all = "-a" in one or ("--since" in one and "-f" not in one)
    shown: list[dict[str, Any]] = []
    for job in sorted(known.values(), key=lambda job: -job["submitted"]):
        is_over = job["state"] == "ended"
        if (is_over and (not is_all or job["ended"] < since)) or one.get("--name", job["name"]) != job["name"]:
            continue
        shown.append(_view(job))
    return Answer(json.dumps({"jobs": shown[:count] if count else shown}) + "\n")


def _view(job: Job) -> dict[str, Any]:
    number, is_over = int(job["key"]), job["state"] == "ended"
    view: dict[str, Any] = {
        "id": number,
        "userid": os.getuid(),
        "urgency": 0 if job["state"] == "held" else 16,
        "priority": 0 if job["state"] == "held" else 16,
        "t_submit": job["submitted"],
        "t_depend": job["submitted"],
        "state": STATES.get(job["state"], "INACTIVE"),
        "name": job["name"],
        "queue": job["said"]["queue"],
        "ntasks": int(job["said"]["slots"]),
        "ncores": int(job["said"]["slots"]),
        "nnodes": int(job["said"]["nodes"]),
        "duration": job["limit_s"] if job["limit_s"] < 1e9 else 0.0,
        "expiration": 0.0,
        "annotations": {"sched": {"resource_summary": "rank0/core0"}} if job["started"] else {},
        "exception": {"occurred": False, "severity": "", "type": "", "note": ""},
        "jobid": f58(number),
    }
    if job["started"]:
        view |= {"t_run": job["started"], "ranks": "0", "nodelist": "n1"}
        view["runtime"] = (job["ended"] or time.time()) - job["started"]
    if is_over:
        failed = "FAILED" if job["code"] or job["signal"] else "COMPLETED"
        result = job["said"].get("result", RESULTS.get(job["why"], failed))
        view |= {
            "t_cleanup": job["ended"],
            "t_inactive": job["ended"],
            "result": result,
            "success": result == "COMPLETED",
        }
        code = (
            142
            if result == "TIMEOUT"
            else 143
            if job["why"] == "cancel"
            else job["code"] or (job["signal"] and 128 + job["signal"])
        )
        if job["started"]:
            view |= {"waitstatus": code << 8, "returncode": code}
        else:
            view["returncode"] = -128
        kind = {"TIMEOUT": "timeout", "CANCELED": "cancel", "FAILED": "exec" if job["why"] == "start" else ""}.get(
            result, ""
        )
        if kind:
            note = {
                "timeout": f"resource allocation expired after {job['limit_s']:g}s",
                "exec": "job shell execution error",
            }
            view["exception"] = {"occurred": True, "severity": 0, "type": kind, "note": note.get(kind, "")}
    return view


def cancel(store: Store, arguments: list[str]) -> Answer:
    """Raise the cancel exception of jobs."""
    found, rest = options(
        arguments, "nqm:u:S:", ["all"], lambda option: Refused(f"flux-cancel: unrecognized option {option}", 1)
    )
    del found
    err, code = "", 0
    for text in rest:
        job = store.jobs.get(str(_parse(text, "flux-cancel")))
        if job is None or job["state"] == "forgotten":
            err, code = err + f"flux-cancel: {text}: unknown job id\n", 1
        elif job["state"] == "ended":
            err, code = err + f"flux-cancel: {text}: job is inactive\n", 1
        else:
            store.cancel(job)
    return Answer("", err, code)


def urgency(store: Store, arguments: list[str]) -> Answer:
    """Hold or release a job that waits."""
    job = store.jobs.get(str(_parse(arguments[0], "flux-job")))
    if job is None:
        raise Refused("flux-job: unknown job id", 1)
    if job["state"] in ("held", "queued"):
        job["state"] = "held" if arguments[1] in ("hold", "0") else "queued"
    return Answer()


def uptime(store: Store, arguments: list[str]) -> Answer:
    """Say that the instance is up."""
    del store, arguments
    return Answer(" 12:00:00 run 2.1d,  owner flux,  depth 0,  size 8\n")


def run() -> None:
    """Be `flux` with the command that `sys.argv` names."""
    import sys

    locale.setlocale(locale.LC_CTYPE, "")
    verbs = {"batch": batch, "submit": submit, "jobs": jobs, "cancel": cancel, "uptime": uptime}
    words = sys.argv[3:]
    if words[:2] == ["job", "cancel"] or words[:2] == ["job", "urgency"]:
        words = words[1:]
        verbs["urgency"] = urgency
    if not words or words[0] not in verbs:
        sys.stderr.write(f"flux: `{' '.join(words[:1])}' is not a flux command.  See 'flux --help'\n")
        sys.exit(1)
    sys.argv[2:] = words
    away = "flux-{}: ERROR: Unable to connect to Flux: [Errno 2] No such file or directory\n"
    main(dict(verbs), {verb: Answer(err=away.format(verb), code=1) for verb in verbs})
