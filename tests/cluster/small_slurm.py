"""A real Slurm for one test: its daemons in the foreground on free ports, all files in one temporary folder.

Several pretended nodes share this machine, each with a pretended GPU. Nothing below /etc is read or written,
no service manager is needed, root or not. Every process carries MARK=folder in its environment: so the end
finds them all, and a crash of a node those of the node.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

CLIENTS = ("sbatch", "srun", "scancel", "squeue", "sinfo", "scontrol", "sacct", "sacctmgr", "sshare")
NEEDED = ("munged", "munge", "slurmctld", "slurmd", *CLIENTS[:6])
PACKAGES = "slurmctld slurmd slurm-client munge"  # of Debian and Ubuntu
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MARK, NODE_MARK = "SMALL_SLURM", "SMALL_SLURM_NODE"

CONFIGURATION = """\
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also the time before a requeued job may start again
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# more processors and memory than the machine may have
SlurmdParameters=config_overrides
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SlurmdTimeout=10
KillWait=3
MinJobAge=3600
JobRequeue=1
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# no cgroups: the daemons add up a job's memory every second, and kill what is over its limit
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/none
GresTypes=gpu
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SmallSlurm(NamedTuple):
    """folder: its files. environment: for whoever submits to it."""

    folder: Path
    environment: dict[str, str]


def missing_programs() -> list[str]:
    """What is not installed of what is needed."""
    return [name for name in NEEDED if shutil.which(name, path=SYSTEM_PATH) is None]


@contextmanager
def small_slurm(nodes: list[str], *, gpu_type: str, cpus: int, memory_mb: int) -> Iterator[SmallSlurm]:
    """Start it, and stop it whatever happens. Each node has one GPU of the type, in partition `gpu`."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: a socket's has at most 107 characters
    folder.chmod(0o755)  # munged wants its socket reachable for all
    environment = {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf", MARK: str(folder)}
    environment["PATH"] = f"{folder}/bin:{os.environ['PATH']}:{SYSTEM_PATH}"
    slurm = SmallSlurm(folder, environment)
    try:
        configure(folder, nodes, gpu_type=gpu_type, cpus=cpus, memory_mb=memory_mb)
        write_clients(folder)
        start_daemons(slurm, nodes)
        yield slurm
    finally:
        while left := processes(slurm):  # more than once: one of them may just have started another
            for process in left:
                kill(process)
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


def configure(folder: Path, nodes: list[str], *, gpu_type: str, cpus: int, memory_mb: int) -> None:
    """slurm.conf, gres.conf, and for every node a device file, which is /dev/null."""
    host, ports = socket.gethostname().partition(".")[0], free_ports(len(nodes) + 1)
    text = CONFIGURATION.format(host=host, port=ports[0], user=getpass.getuser(), folder=folder)
    gres = "AutoDetect=off\n"
    for node, port in zip(nodes, ports[1:], strict=True):
        text += (
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
            f"RealMemory={memory_mb} Gres=gpu:{gpu_type}:1 State=UNKNOWN\n"
        )
        (folder / f"gpu.{node}").symlink_to("/dev/null")
        gres += f"NodeName={node} Name=gpu Type={gpu_type} File={folder}/gpu.{node} Flags=nvidia_gpu_env\n"
        (folder / f"spool.{node}").mkdir()
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    (folder / "gres.conf").write_text(gres, encoding="utf-8")
    (folder / "cgroup.conf").write_text("ConstrainRAMSpace=no\n", encoding="utf-8")


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def write_clients(folder: Path) -> None:
    """Clients that know where slurm.conf is: the Slurm plugin takes SLURM_CONF away from its inner srun."""
    (folder / "bin").mkdir()
    for name in CLIENTS:
        if program := shutil.which(name, path=SYSTEM_PATH):
            client = folder / "bin" / name
            client.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program} "$@"\n')
            client.chmod(0o755)


def start_daemons(slurm: SmallSlurm, nodes: list[str]) -> None:
    """munged with a key of its own, the controller, one slurmd a node. Raises TimeoutError."""
    folder = slurm.folder
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    places = {
        "socket": "socket",
        "pid-file": "pid",
        "log-file": "log",
        "seed-file": "seed",
        "key-file": "key",
    }
    start(
        slurm, "munged", "--foreground", *(f"--{name}={folder}/munge.{end}" for name, end in places.items())
    )
    wait_for("munged", lambda: succeeds(slurm, "munge", "--no-input", "--socket", f"{folder}/munge.socket"))
    start(slurm, "slurmctld", "-D", "-c")
    wait_for("slurmctld", lambda: succeeds(slurm, "scontrol", "ping"))
    for node in nodes:
        start(slurm, "slurmd", "-D", "-N", node, **{NODE_MARK: node})
    idle = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
    wait_for("the nodes", lambda: len(client(slurm, *idle).split()) == len(nodes))


def start(slurm: SmallSlurm, name: str, *arguments: str, **more: str) -> None:
    """Start a daemon, its words in a file of its own."""
    with (slurm.folder / f"{name}.out").open("a") as words:
        subprocess.Popen(
            [shutil.which(name, path=SYSTEM_PATH), *arguments],
            env={**slurm.environment, **more}, stdin=subprocess.DEVNULL, stdout=words, stderr=words,
        )  # fmt: skip


def wait_for(what: str, ready, *, seconds: float = 30) -> None:
    """Ask until it is so. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not ready after {seconds:g} seconds")
        time.sleep(0.1)


def succeeds(slurm: SmallSlurm, *command: str) -> bool:
    return subprocess.run(command, env=slurm.environment, capture_output=True, timeout=30).returncode == 0


def client(slurm: SmallSlurm, *command: str) -> str:
    """What a client of Slurm's prints."""
    return subprocess.run(
        command, env=slurm.environment, capture_output=True, text=True, timeout=30
    ).stdout.strip()


def jobs(slurm: SmallSlurm) -> list[dict[str, str]]:
    """All jobs, the finished among them, in the words of `scontrol show job`; oldest first."""
    lines = client(slurm, "scontrol", "--oneliner", "show", "job").splitlines()
    fields = [dict(word.partition("=")[::2] for word in line.split() if "=" in word) for line in lines]
    return sorted((job for job in fields if "JobId" in job), key=lambda job: int(job["JobId"]))


def crash(slurm: SmallSlurm, node: str) -> None:
    """The node is gone from one moment to the next: its daemon, and the jobs on it."""
    of_node = (f"{NODE_MARK}={node}", f"SLURMD_NODENAME={node}")
    for process in processes(slurm):
        if any(words in of_node for words in environment_of(process)):
            kill(process)


def processes(slurm: SmallSlurm) -> list[int]:
    """What runs for this Slurm, oldest first: daemons before the jobs that would tell them of their end."""
    numbers = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [n for n in numbers if n != os.getpid() and f"{MARK}={slurm.folder}" in environment_of(n)]


def environment_of(process: int) -> list[str]:
    """Its environment as it was started, nothing where it is gone or another user's."""
    try:
        return Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def kill(process: int) -> None:
    """At once; a child of ours leaves no entry in the table of processes."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(process, 0)
