"""A stand-in for PBS Professional and OpenPBS: qsub, qstat, qselect, qdel, qhold, qrls.

Where it is known from (D documented, C captured, in public code or in OpenPBS's source, K from hearsay):

- C: `1234.server` and `1234[].server` on stdout; `qsub: illegal -N value`, `qsub: Unknown queue`,
  `qstat: Unknown Job Id N` with exit code 153, `qstat: N Job has finished, use -x or -H to obtain historical job
  information` with 35, `PBS is not configured to maintain job history`; a server that is away: the text on stderr, exit
  code 255, and all the same a JSON object on stdout, without jobs; the shape of `qstat -f -F json`, where texts that
  look like numbers come without quotes; exit statuses (256 + signal, -29 at the walltime, -1 and lower before the job
  began); `^array_index^` in file names; jobs that begin in the home folder; outputs that appear when the job ends.
- D: options of all commands, states, names (letters first, printable, 230 characters, 15 in old versions), arrays with
  PBS_ARRAY_INDEX, state B of an array and X of its members that ended, arrays that must be rerunnable.
- K: the texts for a wrong account, for limits, and for arrays with -r n; that members in state X have no Exit_status.
"""

import json
import os
import pwd
import time
from typing import Any

from .engine import Answer, Job, Refused, Store, hms, indices, main, options, pairs, seconds

SERVER = "pbs-standin"
STATES = {"held": "H", "queued": "Q", "starting": "R", "running": "R", "ending": "E", "ended": "F"}
SIGTERM = 15


def qsub(store: Store, arguments: list[str]) -> Answer:
    """Take a job or an array."""
    if arguments == ["--version"]:
        return Answer("pbs_version = 22.05.11\n")
    usage = "usage: qsub [-a date_time] [-A account_string] [-c interval] ..."

    def unknown(option: str) -> Refused:
        return Refused(f"qsub: invalid option -- '{option}'\n{usage}", 2)

    found, rest = options(arguments, "N:l:q:A:P:W:v:J:o:e:j:r:S:m:k:hVz", [], unknown)
    one = dict(found)
    if not rest:
        raise Refused("qsub: script file:: No such file or directory", 1)
    try:
        with open(rest[0]) as file:
            script = file.read()
    except OSError as error:
        raise Refused(f"qsub: script file '{rest[0]}' cannot be loaded - No such file or directory", 1) from error
    name, longest = one.get("-N", os.path.basename(rest[0])), store.settings["name_length"] or 230  # noqa: PTH119
    if not name or len(name) > longest or not name[0].isalpha() or not name.isprintable() or " " in name:
        raise Refused(f"qsub: illegal -N value\n{usage}", 2)
    asked = {"walltime": "01:00:00"}
    for option, value in found:
        if option == "-l":
            key, equals, amount = value.partition("=")
            if not equals:
                raise Refused(f"qsub: illegal -l value\n{usage}", 2)
            asked[key] = amount
    queue, account = one.get("-q", ""), one.get("-A", "")
    queues, accounts = store.settings["queues"], store.settings["accounts"]
    if queues and queue and queue.partition("@")[0] not in queues:
        raise Refused("qsub: Unknown queue", 170)
    if accounts and account not in accounts:
        raise Refused("qsub: Invalid account", 171)
    chunks = asked.get("select", "1")
    limit_s = seconds(asked["walltime"])
    if int(chunks.partition(":")[0]) > store.settings["max_nodes"] or limit_s > store.settings["max_limit_s"]:
        raise Refused("qsub: Job violates queue and/or server resource limits", 188)
    members: list[int] | None = None
    if "-J" in one:
        members = indices(one["-J"], lambda: Refused(f"qsub: illegal -J value\n{usage}", 2))
        if len(members) < 2:
            raise Refused(f"qsub: illegal -J value\n{usage}", 2)
        if one.get("-r") == "n":
            raise Refused("qsub: cannot submit non-rerunable Array Job", 1)
    number = store.number()
    home, here = os.environ.get("HOME", "/"), os.getcwd()  # noqa: PTH109 - starts faster than pathlib
    variables = pairs([part for part in one.get("-v", "").split(",") if part])
    listed = {"PBS_O_HOME": home, "PBS_O_WORKDIR": here, "PBS_O_QUEUE": queue or "workq", "PBS_O_HOST": SERVER}
    for index in members if members is not None else [0]:
        key = f"{number}.{SERVER}" if members is None else f"{number}[{index}].{SERVER}"
        paths: list[str] = []
        for option, letter in (("-o", "o"), ("-e", "e")):
            path = one.get(option) or f"{name}.{letter}{number}"
            if members is not None and option not in one:
                path += ".^array_index^"
            path = path.rpartition(":")[2].replace("^array_index^", str(index))
            paths.append(os.path.join(here, path))  # noqa: PTH118
        environment = {word: os.environ[word] for word in ("PATH", "USER", "LOGNAME") if word in os.environ}
        environment |= {"HOME": home, "PBS_JOBID": key, "PBS_JOBNAME": name, "PBS_ENVIRONMENT": "PBS_BATCH"}
        environment |= listed | variables
        if members is not None:
            environment |= {"PBS_ARRAY_INDEX": str(index), "PBS_ARRAY_ID": f"{number}[].{SERVER}"}
        store.add(
            key,
            script,
            array=f"{number}[].{SERVER}" if members is not None else "",
            index=index,
            name=name,
            state="held" if "-h" in one else "queued",
            directory=home,
            environment=environment,
            stdout=paths[0],
            stderr=paths[0] if one.get("-j") == "oe" else paths[1],
            limit_s=limit_s,
            said={
                "queue": queue or "workq",
                "account": account,
                "select": chunks,
                "rerunnable": str(one.get("-r") != "n"),
                "variables": json.dumps(listed | variables),
            },
        )
    return Answer((f"{number}.{SERVER}" if members is None else f"{number}[].{SERVER}") + "\n")


def qstat(store: Store, arguments: list[str]) -> Answer:
    """Show jobs; only the full form in JSON."""
    found, keys = options(arguments, "fxtF:wJQ", [], lambda option: Refused(f"qstat: invalid option -- '{option}'", 2))
    one = dict(found)
    if "-Q" in one:
        wrong = [key for key in keys if store.settings["queues"] and key not in store.settings["queues"]]
        if wrong:
            raise Refused(f"qstat: Unknown queue {wrong[0]}", 170)
        return Answer("".join(f"{key:<16} 0     0 yes yes\n" for key in keys))
    if "-f" not in one or one.get("-F") != "json":
        raise Refused("qstat: this stand-in knows qstat -f -F json only", 2)
    is_past, is_split = "-x" in one, "-t" in one
    if is_past and store.settings["history_s"] <= 0:
        raise Refused("qstat: PBS is not configured to maintain job history", 36)
    shown: dict[str, Any] = {}
    err, code = "", 0
    views = _views(store)
    for key in keys or list(views):
        view = views.get(key) or views.get(f"{key}.{SERVER}")
        if view is None:
            err, code = err + f"qstat: Unknown Job Id {key}\n", 153
        elif not is_past and view["job_state"] in ("F", "M"):
            if keys:
                err += f"qstat: {key} Job has finished, use -x or -H to obtain historical job information\n"
                code = code or 35
        elif keys or is_split or "array_index" not in view:
            shown[key] = view
            if is_split and view.get("array") == "True":
                shown |= {other: member for other, member in views.items() if member.get("array_id") == key}
    for view in views.values():
        del view["ctime_s"]
    answer: dict[str, Any] = {"timestamp": int(time.time()), "pbs_version": "22.05.11", "pbs_server": SERVER}
    if shown:
        answer["Jobs"] = shown
    return Answer(json.dumps(answer, indent=4, separators=(",", ":")) + "\n", err, code)


def qselect(store: Store, arguments: list[str]) -> Answer:
    """List the ids of jobs."""
    found, _ = options(arguments, "u:N:s:xTJt:q:", [], lambda option: Refused(f"qselect: illegal -{option} value", 2))
    one = dict(found)
    if "-x" in one and store.settings["history_s"] <= 0:
        raise Refused("qselect: PBS is not configured to maintain job history", 36)
    since = 0.0
    if "-t" in one:
        kind, comparison, moment = one["-t"].split(".", 2)
        if kind != "c" or comparison not in ("ge", "gt"):
            raise Refused("qselect: illegal -t value", 2)
        since = time.mktime(time.strptime(moment, "%Y%m%d%H%M.%S"))
    lines: list[str] = []
    for key, view in _views(store).items():
        is_right = view["job_state"] not in ("F", "M") or "-x" in one
        is_right = is_right and one.get("-N", view["Job_Name"]) == view["Job_Name"]
        is_right = is_right and ("array_index" not in view or "-T" in one)
        if is_right and view["ctime_s"] >= int(since):
            lines.append(key + "\n")
    return Answer("".join(lines))


def _views(store: Store) -> dict[str, Any]:
    """Return every job, array and member of an array as qstat shows it, by its id."""
    views: dict[str, Any] = {}
    jobs = [job for job in store.jobs.values() if job["state"] != "forgotten"]
    for job in jobs:
        array = job["array"]
        if array and array not in views:
            members = [other for other in jobs if other["array"] == array]
            is_over = all(member["state"] == "ended" for member in members)
            is_begun = any(member["state"] not in ("queued", "held") for member in members)
            views[array] = _view(job) | {"job_state": "F" if is_over else "B" if is_begun else "Q", "array": "True"}
            views[array].pop("Exit_status", None)
        views[job["key"]] = _view(job)
        if array:
            views[job["key"]] |= {"array_id": array, "array_index": job["index"]}
            if job["state"] == "ended" and views[array]["job_state"] != "F":
                views[job["key"]]["job_state"] = "X"
                views[job["key"]].pop("Exit_status", None)
    return views


def _view(job: Job) -> dict[str, Any]:
    said = job["said"]
    view: dict[str, Any] = {
        "Job_Name": job["name"],
        "Job_Owner": f"{pwd.getpwuid(os.getuid()).pw_name}@{SERVER}",
        "job_state": STATES[job["state"]],
        "queue": said["queue"],
        "server": SERVER,
        "Checkpoint": "u",
        "ctime": _date(job["submitted"]),
        "ctime_s": int(job["submitted"]),
        "Error_Path": f"{SERVER}:{job['stderr']}",
        "Hold_Types": "u" if job["state"] == "held" else "n",
        "Join_Path": "n",
        "mtime": _date(job["ended"] or job["started"] or job["submitted"]),
        "Output_Path": f"{SERVER}:{job['stdout']}",
        "Priority": 0,
        "qtime": _date(job["submitted"]),
        "Rerunable": said["rerunnable"],
        "Resource_List": {"select": said["select"], "walltime": hms(job["limit_s"])},
        "substate": 42,
        "Variable_List": {word: _number(value) for word, value in json.loads(said["variables"]).items()},
        "project": "_pbs_project_default",
    }
    if said["account"]:
        view["Account_Name"] = said["account"]
    if job["started"]:
        elapsed = (job["ended"] or time.time()) - job["started"]
        view["stime"] = _date(job["started"])
        view["resources_used"] = {"cpupercent": 0, "cput": "00:00:00", "mem": "0b", "ncpus": 1}
        view["resources_used"]["walltime"] = hms(elapsed)
        view["comment"] = (
            f"Job run at {time.strftime('%a %b %d at %H:%M', time.localtime(job['started']))} on (n1:ncpus=1)"
        )
    elif said.get("reason"):
        view["comment"] = said["reason"]
    if job["state"] == "ended":
        view["obittime"] = _date(job["ended"])
        if job["started"] or job["why"] == "start":
            signalled = 256 + (SIGTERM if job["why"] == "cancel" else job["signal"])
            status = {"time": -29, "start": -1}.get(job["why"], signalled if signalled > 256 else job["code"])
            view["Exit_status"] = int(said.get("exit_status", status))
            view["comment"] = view.get("comment", "") + (" and finished" if status == 0 else " and failed")
    return view


def _number(value: str) -> Any:
    """Return a number of a text that looks like one: PBS writes it without quotes."""
    try:
        return int(value) if value == str(int(value)) else value
    except ValueError:
        return value


def qdel(store: Store, arguments: list[str]) -> Answer:
    """End jobs."""
    found, keys = options(arguments, "W:x", [], lambda option: Refused(f"qdel: invalid option -- '{option}'", 2))
    del found
    err, code = "", 0
    for key in keys:
        jobs = store.called(key)
        if not [job for job in jobs if job["state"] != "forgotten"]:
            err, code = err + f"qdel: Unknown Job Id {key}\n", 153
        elif all(job["state"] == "ended" for job in jobs):
            err, code = err + f"qdel: Job has finished {key}\n", 35
        for job in jobs:
            store.cancel(job)
    return Answer("", err, code)


def qhold(store: Store, arguments: list[str]) -> Answer:
    """Hold jobs that wait."""
    return _move(store, arguments, "qhold", "queued", "held")


def qrls(store: Store, arguments: list[str]) -> Answer:
    """Release jobs that are held."""
    return _move(store, arguments, "qrls", "held", "queued")


def _move(store: Store, keys: list[str], command: str, old: str, new: str) -> Answer:
    for key in keys:
        jobs = store.called(key)
        if not jobs:
            raise Refused(f"{command}: Unknown Job Id {key}", 153)
        for job in jobs:
            job["state"] = new if job["state"] == old else job["state"]
    return Answer()


def _date(at: float) -> str:
    return time.asctime(time.localtime(at))


def run() -> None:
    """Be the command that `sys.argv` names."""
    away = f"Connection refused\n{{}}: cannot connect to server {SERVER} (errno=15010)\n"
    empty = json.dumps({"timestamp": int(time.time()), "pbs_version": "22.05.11", "pbs_server": SERVER}) + "\n"
    programs = {"qsub": qsub, "qstat": qstat, "qselect": qselect, "qdel": qdel, "qhold": qhold, "qrls": qrls}
    no_answer = {name: Answer(empty * (name == "qstat"), away.format(name), 255) for name in programs}
    main(programs, no_answer)
