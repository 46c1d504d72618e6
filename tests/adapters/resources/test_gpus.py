"""In processes of their own, since a process loads NVIDIA's library once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_nvml import FakeNvml, fake_nvml

GIB = 1024**3
SMI = shutil.which("nvidia-smi")
PROJECT = Path(__file__).parents[3]

READING = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from element_jupyter.adapters.resources.gpus import NvidiaGpus
now = 0.0
gpus = NvidiaGpus(clock=lambda: now, proc=Path(sys.argv[1]))
for line in sys.stdin:
    now += float(line)
    print(json.dumps([asdict(gpu) for gpu in gpus.read()]), flush=True)
gpus.close()
print("pynvml" in sys.modules)
"""


class Reader:
    """Reads the devices when it is told to."""

    def __init__(self, fake: FakeNvml | None, proc: Path) -> None:
        variables = fake.variables if fake else {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", READING, proc],
            cwd=PROJECT,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, after_seconds: float = 1.0) -> list[dict]:
        self.process.stdin.write(f"{after_seconds}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> str:
        return self.process.communicate()[0].strip()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    return fake_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake(library: FakeNvml) -> FakeNvml:
    library.said.with_name(f"{library.said.name}.calls").unlink(missing_ok=True)
    return library


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A `/proc` whose pids are the machine's own."""
    return _proc(tmp_path, "pid:[4026531836]")


@pytest.fixture
def container(tmp_path: Path) -> Path:
    return _proc(tmp_path, "pid:[4026532000]")


def _proc(root: Path, namespace: str) -> Path:
    (root / "self" / "ns").mkdir(parents=True)
    (root / "self" / "ns" / "pid").symlink_to(namespace)
    return root


def test_devices_and_what_processes_use_of_them_are_told(fake: FakeNvml, host: Path):
    fake.say(
        f"device 71 {12 * GIB} {80 * GIB} NVIDIA H100 80GB",
        f"process 100 {10 * GIB} 60 compute",
        f"process 200 {2 * GIB} 10 both",
        f"device 0 0 {24 * GIB} NVIDIA L4",
    )
    reader = Reader(fake, host)

    first, second = reader.read()
    reader.end()

    assert (first["index"], first["name"]) == (0, "NVIDIA H100 80GB")
    assert (first["utilization"], first["memory_bytes"]) == (0.71, 12 * GIB)
    assert first["memory_size_bytes"] == 80 * GIB
    assert first["processes"] == {
        "100": {"memory_bytes": 10 * GIB, "utilization": 0.6},
        "200": {"memory_bytes": 2 * GIB, "utilization": 0.1},
    }
    assert first["processes_known"]
    assert (second["utilization"], second["processes"]) == (0.0, {})
    assert fake.calls()[-1] == "nvmlShutdown"
    assert fake.calls().count("nvmlInitWithFlags") == 1


@pytest.mark.skipif(SMI is not None, reason="there is a driver here")
def test_without_a_driver_nothing_is_imported_or_said(host: Path):
    reader = Reader(None, host)

    assert reader.read() == []
    assert reader.end() == "False"


def test_what_the_driver_cannot_tell_is_absent(fake: FakeNvml, host: Path):
    fake.say(
        f"device 71 {GIB} {80 * GIB} A device cut in parts",
        "process 100 -1 60 compute",
        "fail nvmlDeviceGetUtilizationRates 3",
        "fail nvmlDeviceGetProcessUtilization 3",
    )
    reader = Reader(fake, host)

    (gpu,) = reader.read()
    reader.end()

    assert gpu["utilization"] is None
    assert gpu["processes"] == {"100": {"memory_bytes": None, "utilization": None}}
    assert not gpu["processes_known"]


def test_a_driver_that_fails_is_left_alone_for_a_minute_and_asked_again(fake: FakeNvml, host: Path):
    fake.say(f"device 71 {GIB} {80 * GIB} NVIDIA H100")
    reader = Reader(fake, host)
    assert len(reader.read()) == 1
    fake.say(f"device 71 {GIB} {80 * GIB} NVIDIA H100", "fail nvmlDeviceGetMemoryInfo 15")
    assert reader.read() == []
    calls = len(fake.calls())

    assert reader.read() == []
    assert len(fake.calls()) == calls
    fake.say(f"device 71 {GIB} {80 * GIB} NVIDIA H100")
    assert len(reader.read(after_seconds=60)) == 1
    reader.end()


def test_a_driver_that_does_not_start_is_no_error(fake: FakeNvml, host: Path):
    fake.say("fail nvmlInitWithFlags 999")
    reader = Reader(fake, host)

    assert reader.read() == []
    reader.end()


def test_in_a_container_a_pid_counts_only_if_its_process_has_opened_a_device(
    fake: FakeNvml, container: Path
):
    for pid, target in {100: "/dev/nvidiactl", 200: "/dev/null"}.items():
        (container / str(pid) / "fd").mkdir(parents=True)
        (container / str(pid) / "fd" / "3").symlink_to(target)
    fake.say(
        f"device 71 {GIB} {80 * GIB} NVIDIA H100",
        f"process 100 {GIB} 60 compute",
        f"process 200 {GIB} 60 compute",
        f"process 300 {GIB} 60 compute",
    )
    reader = Reader(fake, container)

    (gpu,) = reader.read()
    reader.end()

    assert set(gpu["processes"]) == {"100"}
    assert not gpu["processes_known"]


@pytest.mark.skipif(SMI is None, reason="there is no GPU here")
def test_a_real_device_is_told_as_its_maker_s_tool_tells_it():
    asked = subprocess.run(
        [str(SMI), "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    )
    reader = Reader(None, Path("/proc"))

    told = reader.read()
    reader.end()

    expected = [line.split(", ") for line in asked.stdout.splitlines()]
    assert [[str(gpu["index"]), gpu["name"]] for gpu in told] == [each[:2] for each in expected]
    for gpu, each in zip(told, expected, strict=True):
        assert gpu["memory_size_bytes"] == pytest.approx(int(each[2]) * 1024**2, rel=0.01)
        assert 0 <= gpu["memory_bytes"] <= gpu["memory_size_bytes"]
        assert gpu["utilization"] is None or 0 <= gpu["utilization"] <= 1


BUSY = """
import sys, time
from element_jupyter.adapters.resources.gpu_time import GpuTime
gpus = GpuTime(period_seconds=0.05)
deadline = time.monotonic() + 60
while (began := gpus.busy_seconds(["0"])) is None and time.monotonic() < deadline:
    time.sleep(0.01)
at = time.monotonic()
while (busy := gpus.busy_seconds(["0"]) - began) < 0.5 and time.monotonic() < deadline:
    time.sleep(0.01)
print(busy / (time.monotonic() - at), gpus.busy_seconds(["1"]), gpus.busy_seconds(["7"]))
gpus.close()
"""


def test_for_how_long_a_device_was_busy_is_its_utilization_over_time(fake: FakeNvml):
    fake.say(f"device 50 0 {24 * GIB} NVIDIA L4", f"device 0 0 {24 * GIB} NVIDIA L4")

    said = subprocess.run(
        [sys.executable, "-c", BUSY],
        cwd=PROJECT,
        env={**os.environ, **fake.variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.split()

    assert float(said[0]) == pytest.approx(0.5, rel=0.3)
    assert said[1:] == ["0.0", "None"]
