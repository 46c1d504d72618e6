"""Which files of a project count, on real repositories and plain directories."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import time_machine

from element_jupyter.adapters.project import find_root, scan
from element_jupyter.core.errors import Invalid, TooLarge
from element_jupyter.core.snapshots import SnapshotLimits


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def no_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing-here"))


def git(directory: Path, *arguments: str) -> None:
    name = [
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "-c",
        "protocol.file.allow=always",
    ]
    subprocess.run(["git", *name, *arguments], cwd=directory, check=True, capture_output=True)


def a_directory(root: Path, *paths: str, **texts: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(os.fsencode(path))
    for path, text in texts.items():
        (root / path).write_text(text)
    return root


def a_repository(root: Path, *tracked: str, ignore: str = "") -> Path:
    a_directory(root, *tracked)
    git(root, "init", "-q")
    if ignore:
        (root / ".gitignore").write_text(ignore)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "first")
    return root


def paths_of(root: Path, **options) -> list[str]:
    return [entry.path for entry in scan(root, **options).manifest.entries]


# The root


def test_the_root_is_the_nearest_repository_upwards(tmp_path):
    root = a_repository(tmp_path / "p", "notebooks/deep/n.ipynb")
    assert find_root(root / "notebooks/deep/n.ipynb") == root


def test_the_root_of_a_worktree_is_the_worktree(tmp_path):
    root = a_repository(tmp_path / "p", "sub/n.ipynb")
    git(root, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert find_root(tmp_path / "tree/sub/n.ipynb") == tmp_path / "tree"
    assert paths_of(tmp_path / "tree") == ["sub/n.ipynb"]


def test_without_a_repository_the_root_is_the_notebooks_own_directory(tmp_path):
    root = a_directory(tmp_path / "p", "a/n.ipynb", "b.py")
    assert find_root(root / "a/n.ipynb") == root / "a"


def test_a_repository_in_the_home_directory_does_not_become_the_project(isolated):
    a_repository(isolated, ".bashrc", ignore="*\n")
    a_directory(isolated / "work", "n.ipynb", "lib.py")

    root = find_root(isolated / "work/n.ipynb")

    assert root == isolated / "work"
    assert paths_of(root) == ["lib.py", "n.ipynb"]


def test_a_repository_where_anybody_may_write_does_not_become_the_project(tmp_path):
    shared = a_repository(tmp_path / "shared", "x")
    shared.chmod(0o1777)
    assert find_root(a_directory(shared / "mine", "n.ipynb") / "n.ipynb") == shared / "mine"


def test_a_repository_above_another_file_system_does_not_become_the_project():
    # /proc is a file system of its own on every Linux
    assert find_root(Path("/proc/sys/n.ipynb")) == Path("/proc/sys")


def test_of_the_home_directory_only_its_visible_files_are_taken(isolated):
    a_directory(isolated, "n.ipynb", "lib.py", ".ssh/id_rsa", ".netrc", "Photos/a.jpg")
    (isolated / "link").symlink_to("Photos")
    found = scan(isolated)
    assert [entry.path for entry in found.manifest.entries] == ["lib.py", "n.ipynb"]
    assert "too broad to be a project" in found.warnings[0]


def test_a_notebook_in_no_directory_is_refused(tmp_path):
    with pytest.raises(Invalid, match="no directory"):
        find_root(tmp_path / "gone" / "n.ipynb")


# What counts


def test_tracked_and_untracked_files_count_and_ignored_ones_do_not(tmp_path):
    root = a_repository(tmp_path / "p", "a.py", "b/kept.log", ignore="*.log\n/out/\n")
    git(root, "add", "-f", "b/kept.log")
    a_directory(root, "new.py", "x.log", "out/y", "b/out/z")
    assert paths_of(root) == [".gitignore", "a.py", "b/kept.log", "b/out/z", "new.py"]


def test_a_tracked_file_that_was_deleted_is_left_out(tmp_path):
    root = a_repository(tmp_path / "p", "a.py", "gone.py", "gone/b.py")
    (root / "gone.py").unlink()
    shutil.rmtree(root / "gone")
    assert paths_of(root) == ["a.py"]


def test_a_tracked_file_below_what_became_a_link_is_left_out(tmp_path):
    root = a_repository(tmp_path / "p", "a/x.py", "b/x.py")
    shutil.rmtree(root / "a")
    (root / "a").symlink_to("b")
    assert paths_of(root) == ["a", "b/x.py"]


@pytest.mark.parametrize("kind", ["repository", "directory"])
def test_elementignore_takes_away_and_gives_back(tmp_path, kind):
    root = a_directory(tmp_path / "p", "a.py", "big/x.csv", "sub/big/y.csv", "#odd", "keep.csv")
    (root / ".gitignore").write_text("*.csv\nsecret.txt\n")
    (root / ".elementignore").write_text("# data\n\n/big/\n!keep.csv\n!sub/big/y.csv\n\\#odd  \n")
    if kind == "repository":
        a_repository(root)
        git(root, "add", "-f", "big/x.csv")
    a_directory(root, "secret.txt")
    assert paths_of(root) == [".elementignore", ".gitignore", "a.py", "keep.csv", "sub/big/y.csv"]


def test_elementignore_takes_away_tracked_files_by_their_directory(tmp_path):
    root = a_repository(tmp_path / "p", "data/a/b.csv", "data/c.csv", "src/data.py")
    (root / ".elementignore").write_text("data/\n.elementignore\n")
    assert paths_of(root) == ["src/data.py"]


def test_a_plain_directory_leaves_out_what_tools_make_again(tmp_path):
    root = a_directory(tmp_path / "p", "n.ipynb", ".hidden", "a/b/c.py")
    a_directory(root, ".venv/x", "a/__pycache__/y", "node_modules/z", ".ipynb_checkpoints/n.ipynb")
    a_directory(root, "myenv/pyvenv.cfg", "myenv/lib/site.py")
    assert paths_of(root) == [".hidden", "a/b/c.py", "n.ipynb"]


def test_a_repository_leaves_out_what_tools_make_again_unless_tracked(tmp_path):
    root = a_repository(tmp_path / "p", "n.ipynb", "node_modules/kept.js")
    a_directory(
        root, ".ipynb_checkpoints/n.ipynb", "node_modules/more.js", "env/pyvenv.cfg", "env/x"
    )
    assert paths_of(root) == ["n.ipynb", "node_modules/kept.js"]


def test_a_submodule_and_a_repository_inside_are_taken_along(tmp_path):
    library = a_repository(tmp_path / "library", "lib.py", "notes.txt", ignore="*.tmp\n")
    root = a_repository(tmp_path / "p", "n.ipynb")
    git(root, "submodule", "add", "-q", str(library), "vendor/library")
    a_directory(root, "vendor/library/new.py", "vendor/library/x.tmp")
    a_repository(root / "inner", "deep/i.py")
    (root / ".elementignore").write_text("notes.txt\n.git*\n.elementignore\n")
    assert paths_of(root) == [
        *("inner/deep/i.py", "n.ipynb", "vendor/library/lib.py", "vendor/library/new.py"),
    ]


def test_a_submodule_that_is_not_checked_out_is_said(tmp_path):
    library = a_repository(tmp_path / "library", "lib.py")
    root = a_repository(tmp_path / "p", "n.ipynb")
    git(root, "submodule", "add", "-q", str(library), "lib")
    git(root, "submodule", "deinit", "-q", "-f", "lib")
    assert "submodule 'lib' is not checked out" in scan(root).warnings[0]


def test_without_git_the_ignore_files_still_hold_and_a_warning_says_so(tmp_path, request):
    root = a_repository(tmp_path / "p", "a.py", "b/c.py", ignore="*.log\n!keep.log\n")
    a_directory(root, "x.log", "keep.log", "b/x.log", "b/d.tmp", "b/e/d.tmp")
    (root / "b/.gitignore").write_text("/d.tmp\n")
    request.getfixturevalue("no_git")
    found = scan(root)
    assert [entry.path for entry in found.manifest.entries] == [
        *(".gitignore", "a.py", "b/.gitignore", "b/c.py", "b/e/d.tmp", "keep.log"),
    ]
    assert found.warnings[0].startswith("git does not answer")


def test_a_broken_repository_is_walked_even_inside_another(tmp_path):
    outer = a_repository(tmp_path / "p", "a.py", ignore="*\n")
    inner = a_directory(outer / "broken", "b.py", ".git/HEAD")
    assert find_root(inner / "b.py") == inner
    assert paths_of(inner) == ["b.py"]


def test_nothing_that_a_repository_configures_is_run(tmp_path):
    root = a_repository(tmp_path / "p", "a.py")
    trap = tmp_path / "trap"
    git(root, "config", "core.fsmonitor", f"touch {trap}; false")
    assert paths_of(root) == ["a.py"]
    assert not trap.exists()


def test_a_caller_inside_a_git_hook_sees_the_projects_own_files(tmp_path, monkeypatch):
    other = a_repository(tmp_path / "other", "o.py")
    root = a_repository(tmp_path / "p", "a.py")
    (other / ".git/info/exclude").write_text("*.py\n")
    git(root, "rm", "-q", "--cached", "a.py")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert paths_of(root) == ["a.py"]


def test_odd_but_legal_names_are_kept(tmp_path):
    names = [
        "-rf",
        " lead",
        "new\nline",
        "quo'te\"",
        "*?[x]",
        "é\u0301",
        "🚀.py",
        "$(touch x)",
        ":(top)",
    ]
    assert paths_of(a_repository(tmp_path / "p", *names)) == sorted(names)
    assert paths_of(a_directory(tmp_path / "q", *names)) == sorted(names)


# What is refused


@contextmanager
def a_socket(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)
        yield


@pytest.mark.parametrize("kind", ["repository", "directory"])
@pytest.mark.parametrize("special", ["fifo", "socket", "device", "tracked"])
def test_a_pipe_socket_or_device_is_refused_by_name_unless_ignored(tmp_path, kind, special):
    root = a_directory(tmp_path / "p", "sub/a.py", "sub/odd")
    if kind == "repository":
        a_repository(root)
        if special != "tracked":
            git(root, "rm", "-q", "--cached", "sub/odd")
    (root / "sub/odd").unlink()
    if special == "socket":
        with a_socket(root / "sub/odd"):
            pass
    elif special == "device":
        if os.geteuid() != 0:
            pytest.skip("only root makes devices")
        os.mknod(root / "sub/odd", 0o20600, os.makedev(1, 3))
    else:
        os.mkfifo(root / "sub/odd")

    with pytest.raises(Invalid, match="'sub/odd' is a device, socket or pipe"):
        scan(root)

    (root / ".elementignore").write_text("odd\n.elementignore\n")
    assert paths_of(root) == ["sub/a.py"]


@pytest.mark.parametrize("kind", ["repository", "directory"])
@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "sub/../../outside", "up/.."])
def test_a_link_that_leaves_the_root_is_refused_by_name(tmp_path, kind, target):
    root = a_directory(tmp_path / "p", "a.py", "sub/b.py")
    a_directory(tmp_path, "outside")
    (root / "up").symlink_to(".")
    (root / "link").symlink_to(target)
    if kind == "repository":
        a_repository(root)
    with pytest.raises(Invalid, match=r"'link'.* cannot be in a snapshot|the link 'link'"):
        scan(root)


def test_an_absolute_link_inside_the_root_becomes_relative(tmp_path):
    root = a_directory(tmp_path / "p", "data/a.csv", "src/b.py")
    (root / "src/data").symlink_to(root / "data")
    links = {e.path: e.link for e in scan(root).manifest.entries if e.link is not None}
    assert links == {"src/data": "../data"}


@pytest.mark.parametrize("name", [b"\xff.py", b"back\\slash", b"d/" * 70 + b"x"])
@pytest.mark.parametrize("kind", ["repository", "directory"])
def test_a_name_that_not_every_system_has_is_refused(tmp_path, name, kind):
    root = a_directory(tmp_path / "p", "a.py")
    a_directory(root, os.fsdecode(name))
    if kind == "repository":
        a_repository(root)
    with pytest.raises(Invalid) as caught:
        scan(root)
    assert caught.value.problem.model_dump_json()


def test_an_unreadable_file_is_refused_by_name(monkeypatch):
    with tempfile.TemporaryDirectory() as name:
        root = a_directory(Path(name), "a.py", "locked.csv", "shut/b.py")
        root.chmod(0o755)
        (root / "locked.csv").chmod(0)
        with as_nobody(), pytest.raises(Invalid, match=r"'locked\.csv' cannot be read: Permission"):
            scan(root)
        (root / "locked.csv").unlink()
        (root / "shut").chmod(0)
        with as_nobody(), pytest.raises(Invalid, match="'shut/' cannot be read: Permission"):
            scan(root)
        (root / "shut").chmod(0o755)


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_project_over_the_limit_is_refused_before_anything_is_read(tmp_path):
    root = a_directory(tmp_path / "p", "a.py")
    with (root / "huge.bin").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooLarge, match=r"huge\.bin"):
        scan(root)


def test_an_ignore_file_that_is_none_is_refused(tmp_path):
    root = a_directory(tmp_path / "p", "a.py")
    (root / ".elementignore").write_bytes(b"a\0b")
    with pytest.raises(Invalid, match="list of patterns"):
        scan(root)


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Invalid, match="no directory"):
        scan(tmp_path / "gone")


# Reading


def test_the_manifest_holds_digest_size_and_mode_of_each_file(tmp_path):
    root = a_directory(tmp_path / "p", "a.py", "run.sh")
    (root / "run.sh").chmod(0o700)
    found = scan(root)
    assert {(e.path, e.digest, e.size_bytes, e.executable) for e in found.manifest.entries} == {
        ("a.py", hashlib.sha256(b"a.py").hexdigest(), 4, False),
        ("run.sh", hashlib.sha256(b"run.sh").hexdigest(), 6, True),
    }
    assert found.sources[hashlib.sha256(b"a.py").hexdigest()] == root / "a.py"


def bytes_read(root: Path, cache: Path) -> int:
    totals = [0]
    scan(root, cache=cache, progress=lambda done, total: totals.append(total))
    return totals[-1]


def test_an_unchanged_file_is_not_read_again(tmp_path):
    root = a_directory(tmp_path / "p", "a.py", "b.py", "sub/c.py")
    with time_machine.travel(10 + (root / "b.py").stat().st_mtime):
        assert bytes_read(root, tmp_path / "cache") == 16
        assert bytes_read(root, tmp_path / "cache") == 0
        before = scan(root, cache=tmp_path / "cache").manifest
        # same size, and the old time put back: only the inode's change time tells
        status = (root / "b.py").stat()
        (root / "b.py").write_text("B.py")
        os.utime(root / "b.py", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert bytes_read(root, tmp_path / "cache") == 4
        after = scan(root, cache=tmp_path / "cache").manifest
    assert before != after
    assert after == scan(root, cache=tmp_path / "another").manifest


def test_a_file_changed_a_moment_ago_is_read_again(tmp_path):
    root = a_directory(tmp_path / "p", "a.py")
    assert bytes_read(root, tmp_path / "cache") == 4
    assert bytes_read(root, tmp_path / "cache") == 4


@pytest.mark.parametrize("damage", [b"", b"\0" * 99, b"x" * 64 + b"\n", None])
def test_a_damaged_or_unwritable_cache_costs_time_only(tmp_path, damage):
    root = a_directory(tmp_path / "p", "a.py")
    cache = tmp_path / "cache"
    with time_machine.travel(10 + (root / "a.py").stat().st_mtime):
        expected = scan(root, cache=cache).manifest
        [index] = (cache / "snapshots").iterdir()
        if damage is None:
            shutil.rmtree(cache)
            cache.write_text("a file where the directory should be")
        else:
            index.write_bytes(damage)
        assert scan(root, cache=cache).manifest == expected


def test_a_file_that_keeps_changing_is_refused_by_name(tmp_path):
    root = a_directory(tmp_path / "p", "a.py")
    log = root / "busy.log"
    log.write_bytes(bytes(30_000_000))
    done = threading.Event()

    def write() -> None:
        with log.open("r+b", buffering=0) as file:
            while not done.is_set():
                file.seek(0)
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(Invalid, match=r"'busy\.log' keeps changing"):
            scan(root, limits=SnapshotLimits(warn_bytes=10**9))
    finally:
        done.set()
        writer.join()
