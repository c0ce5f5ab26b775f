"""A stand-in for Fujitsu's job operation software (TCS, PJM), as on Fugaku: pjsub, pjstat, pjdel, pjhold, pjrls.

Where it is known from (D documented, C captured or used in public code, K from hearsay):

- C: `[INFO] PJM 0000 pjsub Job N submitted.`; errors as text, on some systems with exit code 0; the texts of 0007,
  0057, 0070, 0071, 0211; `pjstat -s -E --data --choose=…` as CSV whose header begins with `H` and whose rows begin
  with an empty field; columns JOB_ID JOB_NAME MD ST USER GROUP START_DATE ELAPSE_TIM EC PC SN ACCEPT RSC_GRP REASON;
  finished jobs leave the list and are found with `-H day=N`; a number that is in neither is left out; the parent of a
  bulk job has EC "-"; `[INFO] PJM 0100 pjdel Accepted job N.`; -o and -e with %n and %j; "12345[1]".
- D: states, PJM codes, names of at most 63 bytes, -g, -L, --mpi, -x, --bulk with --sparam, PJM_BULKNUM; SIGXCPU at the
  elapse limit and SIGKILL some seconds later.
- K: the text for a name that is too long; %b and %J in file names; that a job which was cancelled while it ran shows
  CCL and PC 1 with EC and SN of its script; the text of pjdel for a job that is not there; what pjhold and pjrls say;
  that both outputs of a job without -o land in its directory as NAME.ID.out and NAME.ID.err.
"""

import os
import time
from collections.abc import Callable

from .engine import Answer, Job, Refused, Store, hms, indices, main, options, pairs, seconds

STATES = {"held": "HLD", "queued": "QUE", "starting": "RNA", "running": "RUN", "ending": "RNO"}
COLUMNS = {
    "jid": "JOB_ID",
    "jnam": "JOB_NAME",
    "jmdl": "MD",
    "st": "ST",
    "usr": "USER",
    "grp": "GROUP",
    "rscg": "RSC_GRP",
    "ec": "EC",
    "pc": "PC",
    "sn": "SN",
    "adt": "ACCEPT",
    "sdt": "START_DATE",
    "edt": "END_DATE",
    "elp": "ELAPSE_TIM",
    "cmt": "COMMENT",
    "ermsg": "REASON",
}
SIGXCPU = 24


def pjsub(store: Store, arguments: list[str]) -> Answer:
    """Take a job or a bulk job."""

    def unknown(option: str) -> Refused:
        return refused(f"0001 pjsub Unknown option: {option}.")

    def refused(text: str) -> Refused:
        return Refused(f"[ERR.] PJM {text}", 0 if store.settings["is_zero_on_error"] else 1)

    long = [
        "bulk",
        "sparam=",
        "mpi=",
        "no-check-directory",
        "name=",
        "rsc-list=",
        "comment=",
        "gname=",
        "spath=",
        "omp=",
    ]
    found, rest = options(arguments, "L:g:x:N:o:e:jXsSp:", long, unknown)
    if len(rest) != 1 or not os.path.isfile(rest[0]):  # noqa: PTH113 - starts faster than pathlib
        raise refused("0005 pjsub Script file is not found.")
    with open(rest[0]) as file:
        script = file.read()
    one = {name: value for name, value in found if name not in ("-L", "--rsc-list", "-x")}
    resources = ",".join(value for name, value in found if name in ("-L", "--rsc-list"))
    asked = pairs(resources.split(","))
    variables = pairs([value for name, value in found if name == "-x"])
    name = one.get("-N") or one.get("--name") or os.path.basename(rest[0])  # noqa: PTH119
    if len(name.encode()) > 63:
        raise refused(f"0049 pjsub Job name is too long: {name}.")
    group, queue = one.get("-g", ""), asked.get("rscgrp", "")
    accounts, queues = store.settings["accounts"], store.settings["queues"]
    if not group or (accounts and group not in accounts):
        raise refused(f"0071 pjsub Group not authorized to submit a job: group({group or 'fugaku'}).")
    if queues and queue not in queues:
        raise refused("0007 pjsub Resource group does not exist")
    nodes = 1
    for length in asked.get("node", "1").partition(":")[0].split("x"):
        nodes *= int(length)
    if nodes > store.settings["max_nodes"]:
        raise refused(f"0057 pjsub node={nodes} is greater than the upper limit ({store.settings['max_nodes']}).")
    limit_s = seconds(asked.get("elapse", "1:00:00"))
    if limit_s > store.settings["max_limit_s"]:
        upper = hms(store.settings["max_limit_s"], 4)
        raise refused(f"0057 pjsub elapse={asked['elapse']} is greater than the upper limit ({upper}).")
    members: list[int] | None = None
    if "--bulk" in one:
        members = indices(one.get("--sparam", ""), lambda: refused("0011 pjsub Invalid argument: sparam."))
    number = str(store.number())
    directory = os.getcwd()  # noqa: PTH109 - starts faster than pathlib
    said = {"group": group, "queue": queue, "comment": one.get("--comment", ""), "limit_signal": str(SIGXCPU)}
    for index in members if members is not None else [0]:
        key = number if members is None else f"{number}[{index}]"
        paths: list[str] = []
        for option, ending in (("-o", "out"), ("-e", "err")):
            path = one.get(option) or f"%n.%J.{ending}"
            values = {"%n": name, "%J": key, "%j": number, "%b": str(index)}
            for mark, value in values.items():
                path = path.replace(mark, value)
            paths.append(os.path.join(directory, path))  # noqa: PTH118
        environment = {name: os.environ[name] for name in ("HOME", "PATH", "USER", "LOGNAME") if name in os.environ}
        environment |= variables | {"PJM_JOBID": number, "PJM_SUBJOBID": key, "PJM_JOBNAME": name}
        environment |= {"PJM_O_WORKDIR": directory, "PJM_ENVIRONMENT": "BATCH", "PJM_NODE": str(nodes)}
        if members is not None:
            environment["PJM_BULKNUM"] = str(index)
        store.add(
            key,
            script,
            array=number if members is not None else "",
            index=index,
            name=name,
            directory=directory,
            environment=environment,
            stdout=paths[0],
            stderr=paths[0] if "-j" in one else paths[1],
            limit_s=limit_s,
            said=said,
        )
    return Answer(f"[INFO] PJM 0000 pjsub Job {number} submitted.\n")


def pjstat(store: Store, arguments: list[str]) -> Answer:
    """List live jobs, or with -H those that ended."""
    is_expanded = is_data = is_history = False
    keys: list[str] = []
    chosen = ["jid", "jnam", "jmdl", "st", "usr", "sdt", "elp"]
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "-H":
            is_history = True
            if rest and rest[0].startswith(("day=", "start=", "end=")):
                rest.pop(0)
        elif word in ("-E", "-s", "-v", "-A", "--data"):
            is_expanded, is_data = is_expanded or word == "-E", is_data or word == "--data"
        elif word.startswith("--choose="):
            chosen = word.removeprefix("--choose=").split(",")
        elif word.startswith("-"):
            raise Refused(f"[ERR.] PJM 0201 pjstat Unknown option: {word}.")
        else:
            keys.append(word)
    wrong = [word for word in chosen if word not in COLUMNS]
    if wrong:
        raise Refused(f"[ERR.] PJM 0202 pjstat Invalid argument: {wrong[0]}.")
    for key in keys:
        if not key.replace("[", "").replace("]", "").isdigit():
            raise Refused(f"[ERR.] PJM 0211 pjstat Invalid jobid: {key}.")
    rows: list[dict[str, str]] = []
    for parent in dict.fromkeys(job["array"] or job["key"] for job in store.jobs.values()):
        members = [job for job in store.jobs.values() if (job["array"] or job["key"]) == parent]
        members = [job for job in members if job["state"] != "forgotten"]
        if keys and not any(key in (parent, *(job["key"] for job in members)) for key in keys):
            continue
        if not members or all(job["state"] == "ended" for job in members) != is_history:
            continue
        is_bulk = bool(members[0]["array"])
        if is_bulk:
            rows.append(_row(members[0]) | {"jid": parent, "jmdl": "BU", "ec": "-", "pc": "0", "sn": "-"})
        if not is_bulk or is_expanded:
            rows += [_row(job) for job in members]
    if is_data:
        lines = [",".join(["H", *(COLUMNS[word] for word in chosen)])]
        lines += [",".join(["", *(row[word] for word in chosen)]) for row in rows]
    else:
        lines = [" ".join(COLUMNS[word] for word in chosen)]
        lines += [" ".join(row[word] for word in chosen) for row in rows]
    return Answer("\n".join(lines) + "\n" if rows or is_data else "")


def _row(job: Job) -> dict[str, str]:
    state, code = STATES.get(job["state"], "EXT"), 0
    if job["state"] == "ended":
        state, code = {"cancel": ("CCL", 1), "start": ("EXT", 16), "time": ("EXT", 11)}.get(job["why"], ("EXT", 0))
        state, code = job["said"].get("state", state), int(job["said"].get("pc", code))
    elapsed = max(0.0, (job["ended"] or time.time()) - job["started"]) if job["started"] else 0.0
    return {
        "jid": job["key"],
        "jnam": job["name"],
        "jmdl": "BU" if job["array"] else "NM",
        "st": state,
        "usr": os.environ.get("USER", "user"),
        "grp": job["said"].get("group", ""),
        "rscg": job["said"].get("queue", ""),
        "ec": str(job["code"]),
        "pc": str(code),
        "sn": str(SIGXCPU if job["why"] == "time" else job["signal"]),
        "adt": _date(job["submitted"]),
        "sdt": _date(job["started"]),
        "edt": _date(job["ended"]),
        "elp": hms(elapsed, 4),
        "cmt": job["said"].get("comment", ""),
        "ermsg": job["said"].get("reason", "-"),
    }


def pjdel(store: Store, arguments: list[str]) -> Answer:
    """Accept the end of jobs; they are gone later."""
    return _each(store, arguments, "pjdel", "0100 pjdel Accepted job {}.", store.cancel)


def pjhold(store: Store, arguments: list[str]) -> Answer:
    """Hold jobs that wait."""

    def hold(job: Job) -> None:
        job["state"] = "held" if job["state"] == "queued" else job["state"]

    return _each(store, arguments, "pjhold", "0300 pjhold Accepted job {}.", hold)


def pjrls(store: Store, arguments: list[str]) -> Answer:
    """Release jobs that are held."""

    def release(job: Job) -> None:
        job["state"] = "queued" if job["state"] == "held" else job["state"]

    return _each(store, arguments, "pjrls", "0400 pjrls Accepted job {}.", release)


def _each(store: Store, keys: list[str], command: str, text: str, act: Callable[[Job], None]) -> Answer:
    out, err = "", ""
    for key in keys:
        jobs = [job for job in store.called(key) if job["state"] not in ("ended", "forgotten")]
        for job in jobs:
            act(job)
        if jobs:
            out += f"[INFO] PJM {text.format(key)}\n"
        else:
            err += f"[ERR.] PJM 0112 {command} Job {key} does not exist.\n"
    return Answer(out, err, 0 if store.settings["is_zero_on_error"] else int(bool(err)))


def _date(at: float) -> str:
    return time.strftime("%m/%d %H:%M:%S", time.localtime(at)) if at else "-"


def run() -> None:
    """Be the command that `sys.argv` names."""
    programs = {"pjsub": pjsub, "pjstat": pjstat, "pjdel": pjdel, "pjhold": pjhold, "pjrls": pjrls}
    no_answer = {
        name: Answer(err=f"[ERR.] PJM 0090 {name} Communication with the job manager failed.\n", code=1)
        for name in programs
    }
    main(programs, no_answer)
