"""How much disk directories take, against du itself."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from pathlib import Path

import pytest

from element_jupyter.adapters.disk_usage import disk_usage


def du(path: Path) -> int:
    said = subprocess.run(
        ["du", "-x", "-s", "--block-size=1", path], check=True, capture_output=True, text=True
    )
    return int(said.stdout.split()[0])


@pytest.fixture
def home(tmp_path) -> Path:
    """A directory with what makes counting hard."""
    home = tmp_path / "home"
    (home / "a" / "b").mkdir(parents=True)
    for number in range(50):
        (home / "a" / f"{number}.bin").write_bytes(os.urandom(number * 997))
    (home / "large.bin").write_bytes(os.urandom(3_000_000))
    os.link(home / "large.bin", home / "a" / "the same again.bin")
    with (home / "sparse.bin").open("wb") as file:
        file.truncate(10_000_000_000)
        file.seek(5_000_000_000)
        file.write(b"x" * 100_000)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "of-somebody-else.bin").write_bytes(os.urandom(5_000_000))
    (home / "a" / "b" / "link").symlink_to(outside)
    (home / "a" / "b" / "file").symlink_to(outside / "of-somebody-else.bin")
    os.mkfifo(home / "pipe")
    (home / "a name\nof two lines \udcff").touch()
    return home


def test_it_is_what_du_counts(home):
    found = disk_usage(home)

    assert found.used_bytes == pytest.approx(du(home), rel=0.01)
    assert found.files == int(
        subprocess.run(
            ["du", "--inodes", "-s", home], check=True, capture_output=True
        ).stdout.split()[0]
    )
    assert found.left_out == 0


def test_a_directory_that_is_a_link_is_not_followed(home, tmp_path):
    (tmp_path / "away").symlink_to(home)

    with pytest.raises(OSError):
        disk_usage(tmp_path / "away")


def test_what_comes_and_goes_meanwhile_does_not_end_it(home):
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            inside = home / "a" / "b" / "churning"
            inside.mkdir()
            (inside / "file").touch()
            (inside / "file").unlink()
            inside.rmdir()
            inside.symlink_to("/")
            inside.unlink()

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        before = du(home / "large.bin")
        found = [disk_usage(home) for _ in range(200)]
    finally:
        stop.set()
        churning.join()

    assert all(before < each.used_bytes < 10_000_000 for each in found)


def test_deeper_than_can_be_opened_is_left_out_and_said(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "deep" / "/".join("d" * 10)).mkdir(parents=True)

    resource.setrlimit(resource.RLIMIT_NOFILE, (69, limits[1]))
    try:
        found = disk_usage(tmp_path / "deep")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert (found.files, found.left_out) == (6, 1)
