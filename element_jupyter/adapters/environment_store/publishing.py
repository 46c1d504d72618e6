"""Builds an environment where nobody looks, checks it, seals it, and shows it by one rename."""

# there are tens of thousands of files
# ruff: noqa: PTH101, PTH102, PTH108, PTH112

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from element_jupyter.adapters.environment_store.contents import (
    LOCK,
    MANIFEST,
    NOTED,
    OURS,
    is_bytecode,
    note,
    read_manifest,
    recorded,
    site_packages,
    walk,
)
from element_jupyter.adapters.environment_store.healing import drop_sources
from element_jupyter.adapters.environment_store.layout import (
    Layout,
    remove_tree,
    room,
    sync_directory,
    write_atomically,
)
from element_jupyter.adapters.environment_store.verifying import distribution_faults, hash_faults
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.keeping import Fault, Manifest

KERNEL_MODULE = "ipykernel_launcher.py"
_FAULTS_SHOWN = 20


def usable(directory: Path, environment_id: str) -> Manifest | None:
    """Return the manifest of an environment that kernels can be started in, else None.

    Looks at the manifest, the interpreter, and the module that kernels are started by.
    """
    manifest = read_manifest(directory)
    if manifest is None or manifest.environment_id != environment_id:
        return None
    if not os.access(directory / "bin/python", os.X_OK):
        return None
    usual = f"lib/python{'.'.join(manifest.python.split('.')[:2])}/site-packages"
    if (directory / usual / KERNEL_MODULE).exists():
        return manifest
    # a free-threaded or another Python has it elsewhere
    elsewhere = any(
        (directory / each / KERNEL_MODULE).exists() for each in site_packages(directory)
    )
    return manifest if elsewhere else None


@contextmanager
def workspace(layout: Layout) -> Iterator[Path]:
    """Have a new directory in `tmp/`, removed in the end; if this process dies, by a sweep.

    It is locked as long as this process lives, by which a sweep knows.
    """
    layout.prepare()
    directory = layout.tmp / uuid.uuid4().hex
    with room(layout.root):
        directory.mkdir(mode=0o700)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        remove_tree(directory)
        os.close(descriptor)


def publish(
    layout: Layout,
    manifest: Manifest,
    lock: bytes,
    install: Callable[[Path, Path], None],
    check: Callable[[Path], None],
) -> Path:
    """Build and show an environment; one that is there already is used instead.

    Raises:
        EnvironmentFailed: `disk_full`, `damaged`, or what `install` and `check` raise.
    """
    layout.prepare()
    final = layout.environment(manifest.environment_id)
    if _stands(layout, final, manifest.environment_id):
        return final
    for last in (False, True):
        # a full disk is told after the workspace is gone, so that the telling has room itself
        with room(layout.root), workspace(layout) as directory:
            prefix = directory / "environment"
            install(prefix, final)
            ours = prefix / OURS
            ours.mkdir(exist_ok=True)
            write_atomically(ours / Path(LOCK).name, lock)
            write_atomically(ours / Path(MANIFEST).name, manifest.model_dump_json().encode())
            check(prefix)
            faults = _note_and_verify(prefix, manifest)
            if not faults:
                _seal(prefix)
                _show(layout, prefix, final, manifest.environment_id)
                break
            if last or not drop_sources(layout, prefix, faults):
                raise EnvironmentFailed(_damaged(faults))
    sync_directory(layout.envs)
    return final


def _stands(layout: Layout, final: Path, environment_id: str) -> bool:
    """Tell whether a usable one is published; a damaged one is taken out of the way."""
    if usable(final, environment_id) is not None:
        return True
    if os.path.lexists(final):
        layout.discard(final)
    return False


def _show(layout: Layout, prefix: Path, final: Path, environment_id: str) -> None:
    while True:
        try:
            prefix.rename(final)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            if _stands(layout, final, environment_id):
                return
        else:
            return


def _note_and_verify(prefix: Path, manifest: Manifest) -> list[Fault]:
    """Compare what was installed with its records, and note the hash of what no record knows."""
    contents = recorded(prefix)
    faults = [*contents.faults, *distribution_faults(contents, manifest)]
    packages = tuple(f"{each}/" for each in site_packages(prefix))
    notes: dict[str, str] = {}
    seen: set[str] = set()
    for path, entry in walk(prefix):
        seen.add(path)
        if path in contents.files or path in {MANIFEST, LOCK}:
            continue
        if is_bytecode(path) and path not in contents.unhashed:
            # left by a check that imported; it has times in it, and the pool has better
            os.unlink(entry.path)
        elif path.startswith(packages) and path not in contents.unhashed:
            faults.append(Fault(path=path, problem="not in the lock"))
        else:
            notes[path] = note(entry)
    faults += [Fault(path=path, problem="missing") for path in contents.files.keys() - seen]
    faults += hash_faults(prefix, contents) if not faults else []
    document = json.dumps(notes, separators=(",", ":"), sort_keys=True)
    write_atomically(prefix / NOTED, document.encode())
    return faults


def _damaged(faults: list[Fault]) -> Failure:
    shown = [f"{each.path}: {each.problem}" for each in faults[:_FAULTS_SHOWN]]
    more = [f"and {len(faults) - _FAULTS_SHOWN} more"] if len(faults) > _FAULTS_SHOWN else []
    return Failure(
        code=FailureCode.DAMAGED,
        title="What was installed is not what the lock says",
        summary=f"It differs in {len(faults)} places, of which the first is {faults[0].path}:"
        f" {faults[0].problem}.",
        hints=("Try again: if its packages were damaged on the way, they are fetched anew.",),
        tool_output="\n".join([*shown, *more]),
        retryable=True,
    )


def _seal(prefix: Path) -> None:
    """Make everything read-only, for its owner too, but the top, which the rename has to change.

    So neither `pip install` in a cell nor Python's own byte-code changes an environment. Every
    directory with modules gets its `__pycache__` now: later, byte-code needs no other opened.
    """
    directories: list[str] = []
    waiting = [os.fspath(prefix)]
    while waiting:
        directory = waiting.pop()
        directories.append(directory)
        modules = False
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_symlink():
                    modules = modules or entry.name.endswith(".py")
                    _make_read_only(entry)
        if modules and not directory.endswith("/__pycache__"):
            cache = f"{directory}/__pycache__"
            if not os.path.isdir(cache):
                os.mkdir(cache)
                directories.append(cache)
    for directory in reversed(directories[1:]):
        os.chmod(directory, 0o555)  # noqa: S103 - others may read it
    prefix.chmod(0o755)


def _make_read_only(entry: os.DirEntry[str]) -> None:
    mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
    wanted = 0o555 if mode & stat.S_IXUSR else 0o444
    if mode != wanted:
        os.chmod(entry.path, wanted)
