"""A real Slurm of one node, without systemd; all of it is gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from element_jupyter.platform.ports import free_port
from tests.hub_fixture import reachable
from tests.platform_fixture import wait_until

_CONF = """
ClusterName=tests
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={here}/munge.sock
CryptoType=crypto/munge
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.pid
SlurmctldLogFile={here}/slurmctld.log
SlurmdLogFile={here}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
ReturnToService=2
KillWait=2
SlurmdParameters=config_overrides
NodeName={host} CPUs=8 RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def running_slurm() -> Iterator[dict[str, str]]:
    """Run it; yields the variables that its commands need."""
    here = Path(tempfile.mkdtemp(prefix="element-slurm-"))
    here.chmod(0o755)
    for name in ("state", "spool"):
        (here / name).mkdir()
    host = socket.gethostname().split(".")[0]
    conf = here / "slurm.conf"
    conf.write_text(_CONF.format(host=host, here=here, ports=[free_port(), free_port()]))
    key = here / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    variables = {"SLURM_CONF": str(conf)}
    commands = [
        ["munged", "--force", "--foreground", f"--key-file={key}", f"--socket={here}/munge.sock",
         f"--pid-file={here}/munged.pid", f"--log-file={here}/munged.log",
         f"--seed-file={here}/munged.seed"],
        ["slurmctld", "-D", "-i"],
        [*reachable(), "slurmd", "-D"],
    ]  # fmt: skip
    environment = os.environ | variables
    environment["PATH"] += ":/usr/sbin"
    daemons = []
    try:
        for command in commands:
            with (here / "daemons.log").open("ab") as log:
                daemons.append(
                    subprocess.Popen(
                        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )
                )
            if command[0] == "munged":
                wait_until((here / "munge.sock").exists)
        wait_until(
            lambda: "idle" in subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True
            ).stdout,
            40,
            lambda: (here / "daemons.log").read_text()[-3000:],
        )  # fmt: skip
        yield variables
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(20)
        shutil.rmtree(here)
