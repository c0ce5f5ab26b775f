"""A private Slurm on this machine: its own munge, one controller, some nodes, in a folder of its own.

`python tests/slurm/cluster.py DIR` starts one, prints the environment that its clients need, and ends it on SIGTERM.
"""

import argparse
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")
START_S = 30.0
"""How long it may take until every node is idle."""

CONF = """\
ClusterName=renkei
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=0,batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=2
MinJobAge={min_job_age_s}
MaxArraySize=10001
MaxJobCount=50000
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/finished.txt
{nodes}
PartitionName=short Nodes=ALL Default=YES MaxTime=60 DefMemPerCPU=100
PartitionName=long Nodes=ALL MaxTime=1440 DefMemPerCPU=100
"""


def missing() -> str:
    """Return why no cluster can be had on this machine; "" when one can."""
    absent = [name for name in PROGRAMS if _path(name) is None]
    return f"Slurm is not installed: no {', '.join(absent)}" if absent else ""


class Cluster:
    """A private Slurm. Its clients find it by `environment`.

    Args:
        folder: Where everything of it lives; made if need be. Its path must be short: there is a socket in it.
        n_nodes: How many nodes it has, all on this machine.
        cores: How many cores each node claims to have.
        min_job_age_s: How long the controller remembers a job that ended.
    """

    def __init__(self, folder: Path, n_nodes: int = 2, cores: int = 4, min_job_age_s: int = 300) -> None:
        self.folder, self.n_nodes = folder.absolute(), n_nodes
        ports = _free_ports(1 + n_nodes)
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores} RealMemory=4000"
            for i, port in enumerate(ports[1:], 1)
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir(exist_ok=True)
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(
            CONF.format(
                host=host, controller_port=ports[0], user=getpass.getuser(), folder=self.folder, nodes=nodes,
                min_job_age_s=min_job_age_s,
            )
        )  # fmt: skip
        self.environment = {"SLURM_CONF": str(self.conf)}
        self.controller: subprocess.Popen[bytes] | None = None
        self._others: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            stack.callback(self.stop)
            key = self.folder / "munge.key"
            if not key.exists():
                key.write_bytes(os.urandom(128))
                key.chmod(0o400)
            munge = [f"--{word}={self.folder}/munge.{end}" for word, end in
                     (("socket", "sock"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"),
                      ("seed-file", "seed"))]  # fmt: skip
            self._others.append(self._start("munged", "--foreground", "--force", *munge))
            self._wait(lambda: (self.folder / "munge.sock").exists(), "munged does not listen")
            self.start_controller()
            for i in range(1, self.n_nodes + 1):
                (self.folder / f"spool-n{i}").mkdir(exist_ok=True)
                self._others.append(self._start("slurmd", "-D", "-f", str(self.conf), "-N", f"n{i}"))
            self._wait(self.is_idle, "the nodes do not become idle")
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_controller(self) -> None:
        """Start slurmctld; one that was killed finds its state again."""
        self.controller = self._start("slurmctld", "-D", "-f", str(self.conf))

    def kill_controller(self) -> None:
        """End slurmctld as a crash would."""
        assert self.controller is not None
        self.controller.kill()
        self.controller.wait(10)

    def wait_for_controller(self) -> None:
        """Wait until slurmctld answers."""
        self._wait(lambda: self.run("scontrol", "ping").returncode == 0, "slurmctld does not answer")

    def resume(self) -> None:
        """Give back nodes that a restarted controller took out of service."""
        for line in self.run("sinfo", "-h", "-N", "-p", "short", "-o", "%N %T").stdout.splitlines():
            name, state = line.split()
            if "drain" in state or "down" in state:
                self.run("scontrol", "update", f"NodeName={name}", "State=RESUME")

    def is_idle(self) -> bool:
        """Return whether every node is idle."""
        states = self.run("sinfo", "-h", "-N", "-p", "short", "-o", "%T").stdout.split()
        return len(states) == self.n_nodes and set(states) == {"idle"}

    def run(self, *argv: str, limit_s: float = 30.0) -> "subprocess.CompletedProcess[str]":
        """Run a client command."""
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=limit_s, env=os.environ | self.environment, check=False
        )

    def stop(self) -> None:
        """End the jobs and every process that was started here."""
        if self.controller is not None and self.controller.poll() is None:
            try:
                self.run("scancel", "--signal=KILL", "--full", "--user", getpass.getuser(), limit_s=10)
                self.run("scancel", "--user", getpass.getuser(), limit_s=10)
                self._wait(lambda: not self.run("squeue", "-h", "-t", "R,CG").stdout.strip(), "", 8.0)
            except (subprocess.TimeoutExpired, TimeoutError):
                pass  # what is left of jobs ends with the nodes below
        for pid in self._steps():
            _kill(pid)
        for process in [self.controller, *reversed(self._others)]:
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)
        for pid in self._steps():
            _kill(pid)
        self.controller = None
        self._others.clear()

    def _steps(self) -> list[int]:
        """Return the job steps that still belong to nodes of this cluster: children of theirs, or left by them."""
        mark = f"SLURM_CONF={self.conf}".encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    is_step = b"slurmstepd" in (entry / "cmdline").read_bytes()
                    if is_step and mark in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def _start(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        path = _path(program)
        assert path is not None, f"{program} is not installed"
        with open(self.folder / f"{program}.out", "ab") as out:
            return subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | self.environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def _wait(self, is_so: "object", otherwise: str, limit_s: float = START_S) -> None:
        assert callable(is_so)
        deadline = time.monotonic() + limit_s
        while not is_so():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{otherwise} within {limit_s:g} s; see {self.folder}")
            time.sleep(0.05)


def _path(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _end_with_parent() -> None:
    """Have the kernel end this process when the tests end, however they end."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _leave(number: int, frame: object) -> None:
    sys.exit(0)


def main() -> None:
    """Start a cluster, say how to reach it, and keep it until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cores", type=int, default=4)
    asked = parser.parse_args()
    if problem := missing():
        sys.exit(problem)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    with Cluster(asked.folder, asked.nodes, asked.cores) as cluster:
        print(f"SLURM_CONF={cluster.conf}", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
