"""`element up` as a process: without Airflow, which makes no difference here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.platform_fixture import (
    ROOT,
    RunningPlatform,
    free_ports,
    running_platform,
    start_platform,
    wait_until,
)

SMALL = {"ELEMENT_AIRFLOW": "false"}


def element(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "element_jupyter.cli", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data dir"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Iterator[RunningPlatform]:
    directory = tmp_path_factory.mktemp("small") / "data dir"
    with running_platform(directory, **SMALL, **free_ports()) as running:
        yield running


def test_a_second_up_on_the_same_data_names_the_first(small):
    second = element("up", "--data", str(small.data_dir), **SMALL)
    assert second.returncode == 2
    assert f"pid {small.up.pid}" in second.stderr
    assert small.service_url in second.stderr
    assert small.state["ready"]


def test_status_tells_what_runs_and_where(small):
    told = element("status", "--data", str(small.data_dir), "--json")
    assert told.returncode == 0
    status = json.loads(told.stdout)
    assert status["ready"] is True
    assert status["service_url"] == small.service_url
    assert status["processes"]["postgres"]["state"] == "ready"
    assert psutil.pid_exists(status["processes"]["postgres"]["pid"])
    assert status["versions"]["papermill"]
    assert "PostgreSQL" in element("status", "--data", str(small.data_dir)).stdout


@pytest.mark.parametrize("owner", ["root", "element", "team-ml", "Ada L."])
def test_an_owner_who_could_never_sign_in_is_refused_at_once(data, owner):
    refused = element("up", "--data", str(data), ELEMENT_HUB="true", ELEMENT_OWNER=owner)

    assert refused.returncode == 2
    assert f"Element.owner is {owner!r}, and no person can be called so here." in refused.stderr
    assert not data.exists()


def test_status_of_nothing_is_exit_3(data):
    told = element("status", "--data", str(data), "--json")
    assert told.returncode == 3
    assert json.loads(told.stdout)["code"] == "unavailable"


def test_doctor_finds_a_running_platform_well(small):
    told = element("doctor", "--data", str(small.data_dir), "--json")
    findings = json.loads(told.stdout)["findings"]
    assert [finding for finding in findings if finding["verdict"] == "fail"] == []
    assert told.returncode == 0


def test_doctor_before_the_first_start_changes_nothing(data):
    assert element("doctor", "--data", str(data)).returncode == 0
    assert not data.exists()


def test_doctor_says_what_holds_servers_to_their_sizes(data):
    told = element("doctor", "--data", str(data), "--json", ELEMENT_HUB="true")
    [finding] = [f for f in json.loads(told.stdout)["findings"] if f["check"] == "limits"]
    assert finding["message"].startswith("Servers and runs are held to their sizes by ")
    assert (finding["verdict"] == "warn") == ("watchdog" in finding["message"])


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda data: (data / "token").chmod(0o644), "secrets"),
        (lambda data: (data / "data.json").write_text('{"format": 99}'), "data directory"),
        (lambda data: os.utime(data / "token", (4e9, 4e9)), "clock"),
    ],
)
def test_doctor_tells_what_is_wrong_and_how_to_mend_it(data, spoil, check):
    data.mkdir(mode=0o700)
    (data / "token").touch(0o600)
    spoil(data)
    told = element("doctor", "--data", str(data), "--json")
    assert told.returncode == 1
    [finding] = [f for f in json.loads(told.stdout)["findings"] if f["verdict"] == "fail"]
    assert finding["check"] == check
    assert finding["hint"]


def test_doctor_sees_that_the_default_kernel_has_no_program(data, tmp_path):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    kernel = {"argv": ["/no/such/python"], "display_name": "Gone", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernel))
    told = element("doctor", "--data", str(data), "--json", JUPYTER_PATH=str(tmp_path / "jupyter"))
    [finding] = [f for f in json.loads(told.stdout)["findings"] if f["verdict"] == "fail"]
    assert finding["check"] == "default kernel"
    assert "/no/such/python" in finding["message"]


def test_doctor_sees_that_airflow_would_not_find_the_plugin(data, tmp_path):
    # all that is installed but the mark that Element is
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("element_jupyter"):
            (packages / path.name).symlink_to(path)
    told = subprocess.run(
        [sys.executable, "-S", "-m", "element_jupyter.cli", "doctor", "--data", data, "--json"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{packages}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 1, told.stderr
    failed = {f["check"] for f in json.loads(told.stdout)["findings"] if f["verdict"] == "fail"}
    assert "airflow plugin" in failed


def test_everything_it_writes_is_private(small):
    written = [small.data_dir, *small.data_dir.glob("*"), *small.data_dir.glob("*/*")]
    assert [str(path) for path in written if path.lstat().st_mode & 0o077] == []


def test_it_listens_on_loopback_only(small):
    listening = {
        connection.laddr.ip
        for pid in small.processes()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1"}


def test_no_secret_is_in_an_argument_or_a_log(small):
    secrets = [small.token, *(p.read_text().strip() for p in small.data_dir.glob("secrets/*"))]
    texts = [*small.processes().values(), small.log()]
    texts += [path.read_text() for path in small.data_dir.glob("logs/*.log")]
    assert not [secret for secret in secrets for text in texts if secret in text]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything(data, number):
    with running_platform(data, **SMALL, **free_ports()) as platform:
        assert len(platform.processes()) >= 3
        platform.up.send_signal(number)
        assert platform.up.wait(15) == 0
        assert platform.processes() == {}
    assert not (data / "state.json").exists()


def test_a_program_is_told_line_by_line_what_happens(data):
    with running_platform(data, "--json", **SMALL, **free_ports()) as platform:
        url = platform.service_url
    lines = [line for line in platform.log().splitlines() if line.startswith("{")]
    told = [json.loads(line) for line in lines]
    assert {"event": "component", "name": "postgres", "state": "ready"} in told
    (ready,) = [event for event in told if event["event"] == "ready"]
    assert (ready["service_url"], ready["data_dir"]) == (url, str(data))
    assert told[-1] == {"event": "stopped", "runs_left": 0}


def test_a_signal_while_it_starts_stops_everything(data):
    platform = start_platform(data, **SMALL, **free_ports())
    wait_until((data / "state.json").exists)
    platform.up.send_signal(signal.SIGINT)
    assert platform.up.wait(15) == 0
    assert platform.processes() == {}


def test_after_a_kill_nothing_is_left_and_the_next_up_takes_over_at_the_same_url(data):
    with running_platform(data, **SMALL, **free_ports()) as killed:
        url = killed.service_url
        killed.up.kill()
        killed.up.wait()
        wait_until(lambda: killed.processes() == {}, 15, lambda: str(killed.processes()))
    with running_platform(data, **SMALL) as following:
        assert following.service_url == url
        assert following.state["pid"] == following.up.pid


def test_what_is_killed_comes_back(data):
    with running_platform(data, **SMALL, **free_ports()) as platform:
        for name in ("runner", "postgres"):
            kill_and_wait(platform, name)


def kill_and_wait(platform: RunningPlatform, name: str) -> None:
    os.kill(platform.state["processes"][name]["pid"], signal.SIGKILL)
    wait_until(
        lambda: platform.state["processes"][name]["restarts"] == 1 and platform.state["ready"],
        60,
        platform.log,
    )


def test_a_port_that_is_taken_is_named(data):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = element("up", "--data", str(data), "--port", str(port), **SMALL)
    assert refused.returncode == 2
    assert f"Port {port}" in refused.stderr
    assert "--port" in refused.stderr


def test_a_data_directory_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    refused = element("up", "--data", str(tmp_path / "file" / "data"), **SMALL)
    assert refused.returncode == 3
    assert "cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_full_disk_is_a_sentence(tmp_path):
    small_disk = tmp_path / "small disk"
    small_disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small_disk)])
    if mounted.returncode != 0:
        pytest.skip("may not mount a small disk here")
    try:
        refused = element("up", "--data", str(small_disk / "data"), **SMALL)
    finally:
        subprocess.run(["umount", str(small_disk)], check=True)
    assert refused.returncode == 3
    assert "MB are free" in refused.stderr


@pytest.mark.parametrize(("found", "advice"), [(99, "Upgrade"), (0, "Start the Element")])
def test_data_of_another_format_are_left_alone(data, found, advice):
    data.mkdir(mode=0o700)
    (data / "data.json").write_text(json.dumps({"format": found}))
    refused = element("up", "--data", str(data), **SMALL)
    assert refused.returncode == 2
    assert f"format {found}" in refused.stderr
    assert advice in refused.stderr


def test_a_database_by_url_is_used_instead_of_the_embedded_one(data, any_postgres):
    name = any_postgres.new_database()
    url = any_postgres.url(name)
    with running_platform(data, ELEMENT_DATABASE_URL=url, **SMALL, **free_ports()) as platform:
        assert "postgres" not in platform.state["processes"]
        assert not (data / "postgres").exists()
    any_postgres.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    any_postgres.execute(f'DROP DATABASE "{name}_airflow" WITH (FORCE)')


def test_a_database_that_does_not_answer_is_a_sentence(data):
    url = "postgresql+psycopg://me:geheim@127.0.0.1:1/element"
    refused = element("up", "--data", str(data), ELEMENT_DATABASE_URL=url, **SMALL)
    assert refused.returncode == 3
    assert "does not answer" in refused.stderr
    assert "geheim" not in refused.stderr


def test_the_file_in_the_data_directory_says_which_database_everybody_uses(data, postgres):
    name = postgres.new_database()
    data.mkdir(mode=0o700)
    # as a person writes it, without the driver that Element adds
    url = postgres.url(name).replace("postgresql+psycopg:", "postgresql:")
    (data / "element_config.py").write_text(f"c.Element.database_url = {url!r}\n")
    environment = SMALL | free_ports() | {"ELEMENT_DATABASE_URL": "postgresql://127.0.0.1:1/no"}
    with running_platform(data, **environment) as platform:
        assert "postgres" not in platform.state["processes"]
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_a_file_that_asks_for_the_embedded_database_wins_over_the_environment(data):
    data.mkdir(mode=0o700)
    (data / "element_config.py").write_text("c.Element.database_url = ''\n")
    url = "postgresql://me@127.0.0.1:1/element"
    with running_platform(data, ELEMENT_DATABASE_URL=url, **SMALL, **free_ports()) as platform:
        assert platform.state["processes"]["postgres"]["state"] == "ready"
