"""Groups as files, and a real one where this machine lets tests make one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from element_jupyter.adapters.resources.cgroups import Cgroups, CpuGroup, MemoryGroup, OomKills

GIB = 1024**3
UNLIMITED = "9223372036854771712"


class Machine:
    """Files as a system has them, of a process in a group."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mounts: list[str] = []
        self.groups: list[str] = []
        self.write("proc/vmstat", "nr_free_pages 1\noom_kill 7\n")

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def unified(self, group: str, *, top: str = "/") -> None:
        self.mounts.append(f"30 23 0:28 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw")
        self.groups.append(f"0::{group}")

    def legacy(self, controllers: str, group: str, *, top: str = "/") -> None:
        place = f"/sys/fs/cgroup/{controllers}"
        self.mounts.append(f"31 23 0:29 {top} {place} rw - cgroup cgroup rw,{controllers}")
        self.groups.append(f"4:{controllers}:{group}")

    def read(self) -> Cgroups:
        self.write(
            "proc/self/mountinfo", "\n".join(["1 0 8:1 / / rw - ext4 /dev/sda rw", *self.mounts])
        )
        self.write("proc/self/cgroup", "\n".join(self.groups))
        return Cgroups(root=self.root)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_in_a_container_of_version_2_its_own_limits_are_told(machine: Machine):
    machine.unified("/")
    here = "sys/fs/cgroup"
    machine.write(f"{here}/memory.max", 2 * GIB)
    machine.write(f"{here}/memory.current", GIB)
    machine.write(f"{here}/memory.stat", f"anon 1\ninactive_file {GIB // 4}\nactive_file 5")
    machine.write(f"{here}/cpu.max", "150000 100000")
    machine.write(f"{here}/cpu.stat", "usage_usec 2500000\nuser_usec 1")
    machine.write(f"{here}/memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0")

    groups = machine.read()

    assert groups.memory() == MemoryGroup(2 * GIB, GIB - GIB // 4)
    assert groups.cpu() == CpuGroup(1.5, 2.5)
    assert groups.oom_kills() == OomKills(2, 7)
    assert groups.oom_kills().total == 9


def test_of_several_groups_the_one_that_binds_first_counts_with_what_all_in_it_use(
    machine: Machine,
):
    machine.unified("/pods/mine/server")
    pods = "sys/fs/cgroup/pods"
    machine.write(f"{pods}/mine/server/memory.max", "max")
    machine.write(f"{pods}/mine/server/memory.current", 1)
    machine.write(f"{pods}/mine/server/cpu.max", "max 100000")
    machine.write(f"{pods}/mine/memory.max", 4 * GIB)
    machine.write(f"{pods}/mine/memory.current", 2)
    machine.write(f"{pods}/memory.max", 3 * GIB)
    machine.write(f"{pods}/memory.current", 3)
    machine.write(f"{pods}/cpu.max", "400000 100000")

    groups = machine.read()

    assert groups.memory() == MemoryGroup(3 * GIB, 3)
    assert groups.cpu() == CpuGroup(4.0, None)


def test_of_equal_limits_the_nearest_counts(machine: Machine):
    machine.unified("/a/b")
    for place, used in {"sys/fs/cgroup/a/b": 5, "sys/fs/cgroup/a": 9}.items():
        machine.write(f"{place}/memory.max", GIB)
        machine.write(f"{place}/memory.current", used)

    assert machine.read().memory() == MemoryGroup(GIB, 5)


def test_in_a_container_of_version_1_its_own_limits_are_told(machine: Machine):
    # as Docker mounts it: the path is the host's, the mount is the group itself
    machine.legacy("memory", "/docker/abc", top="/docker/abc")
    machine.legacy("cpu,cpuacct", "/docker/abc", top="/docker/abc")
    memory, cpu = "sys/fs/cgroup/memory", "sys/fs/cgroup/cpu,cpuacct"
    machine.write(f"{memory}/memory.limit_in_bytes", GIB)
    machine.write(f"{memory}/memory.usage_in_bytes", GIB // 2)
    machine.write(f"{memory}/memory.stat", f"cache 1\ntotal_inactive_file {GIB // 8}\n")
    machine.write(f"{memory}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4")
    machine.write(f"{cpu}/cpu.cfs_quota_us", 50000)
    machine.write(f"{cpu}/cpu.cfs_period_us", 100000)
    machine.write(f"{cpu}/cpuacct.usage", 3_000_000_000)

    groups = machine.read()

    assert groups.memory() == MemoryGroup(GIB, GIB // 2 - GIB // 8)
    assert groups.cpu() == CpuGroup(0.5, 3.0)
    assert groups.oom_kills() == OomKills(4, 7)


def test_version_1_tells_a_limit_of_groups_that_cannot_be_seen(machine: Machine):
    machine.legacy("memory", "/user/me")
    here = "sys/fs/cgroup/memory/user/me"
    machine.write(f"{here}/memory.limit_in_bytes", UNLIMITED)
    machine.write(f"{here}/memory.usage_in_bytes", 10)
    machine.write(f"{here}/memory.stat", f"hierarchical_memory_limit {GIB}")

    assert machine.read().memory() == MemoryGroup(GIB, 10)


def test_version_1_tells_what_all_in_the_group_with_the_limit_use(machine: Machine):
    machine.legacy("memory", "/server/mine")
    for place, limit, used in (("server", GIB, 70), ("server/mine", UNLIMITED, 10)):
        here = f"sys/fs/cgroup/memory/{place}"
        machine.write(f"{here}/memory.limit_in_bytes", limit)
        machine.write(f"{here}/memory.usage_in_bytes", used)
        machine.write(f"{here}/memory.max_usage_in_bytes", used + 5)
        machine.write(f"{here}/memory.stat", f"hierarchical_memory_limit {GIB}")

    assert machine.read().memory() == MemoryGroup(GIB, 70)
    assert machine.read().memory_peak_bytes() == 75


def test_without_limits_there_are_none(machine: Machine):
    machine.unified("/user.slice")
    machine.legacy("memory", "/")
    machine.legacy("cpu", "/")
    machine.write("sys/fs/cgroup/user.slice/memory.max", "max")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED)
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", 1)
    machine.write("sys/fs/cgroup/memory/memory.stat", f"hierarchical_memory_limit {UNLIMITED}")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1)
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", 100000)

    groups = machine.read()

    assert groups.memory() is None
    assert groups.cpu() is None


@pytest.mark.parametrize("group", ["/../outside", "/gone/with/the/wind", "/"])
def test_a_group_that_is_hidden_is_no_error(machine: Machine, group: str):
    machine.unified(group)
    machine.write("sys/fs/cgroup/memory.max", GIB)
    machine.write("sys/fs/cgroup/memory.current", 3)

    assert machine.read().memory() == MemoryGroup(GIB, 3)


def test_a_system_that_tells_nothing_is_no_error(tmp_path: Path):
    groups = Cgroups(root=tmp_path)

    assert groups.memory() is None
    assert groups.cpu() is None
    assert groups.oom_kills() == OomKills(None, None)
    assert groups.oom_kills().total == 0


MEMORY_V1 = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(
    not os.access(MEMORY_V1, os.W_OK) or not (MEMORY_V1 / "tasks").exists(),
    reason="groups of version 1 cannot be made here",
)
def test_a_real_limit_and_a_real_kill_are_seen():
    group = MEMORY_V1 / f"element-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 * 1024**2))
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "input()\nx = bytearray(b'1' * 200_000_000)"],
            stdin=subprocess.PIPE,
        )
        (group / "cgroup.procs").write_text(str(child.pid))
        groups = Cgroups(child.pid)
        before = groups.oom_kills()

        assert groups.memory().limit_bytes == 64 * 1024**2
        child.communicate(b"\n")

        assert child.returncode == -9
        assert groups.oom_kills().group == before.group + 1
        assert groups.oom_kills().machine > before.machine
    finally:
        group.rmdir()
