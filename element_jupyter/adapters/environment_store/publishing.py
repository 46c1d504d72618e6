"""Builds an environment where nobody looks, checks it, seals it, and shows it by one rename."""

# there are tens of thousands of files
# ruff: noqa: PTH101, PTH108

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from element_jupyter.adapters.environment_store.bytecode import BytecodePool
from element_jupyter.adapters.environment_store.compared import Compared
from element_jupyter.adapters.environment_store.contents import (
    LOCK,
    MANIFEST,
    NOTED,
    OURS,
    Contents,
    is_bytecode,
    note,
    read_manifest,
    read_only,
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
from element_jupyter.adapters.environment_store.verifying import distribution_faults, sealed_faults
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.keeping import Fault, Manifest

KERNEL_MODULE = "ipykernel_launcher.py"
_NEEDED_BY_KERNELS: Final = frozenset(
    {
        *("ipykernel", "jupyter-client", "jupyter-core", "platformdirs", "python-dateutil"),
        *("pyzmq", "six", "tornado", "traitlets", "typing-extensions"),
    }
)
"""Of these `check` imports much; compiling that would be half of its time."""
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
            faults = _faults(layout, prefix, manifest, check)
            if not faults:
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


def _faults(
    layout: Layout, prefix: Path, manifest: Manifest, check: Callable[[Path], None]
) -> list[Fault]:
    """Return in what an environment differs from its records and the lock; without any, seal it.

    Files are hashed while `check` runs, which mostly waits for another process. What it raises
    counts only where no file is damaged: that would be the reason.
    """
    lent = BytecodePool(layout).lend(prefix, _NEEDED_BY_KERNELS)
    with ThreadPoolExecutor(1) as beside:
        comparing = beside.submit(_compare, prefix, manifest, Compared(layout.compared))
        try:
            check(prefix)
        except EnvironmentFailed:
            if not (faults := comparing.result()[1]):
                raise
            return faults
        contents, faults = comparing.result()
    return faults or _seal(prefix, contents, lent)


def _compare(prefix: Path, manifest: Manifest, compared: Compared) -> tuple[Contents, list[Fault]]:
    contents = recorded(prefix)
    faults = [*contents.faults, *distribution_faults(contents, manifest)]
    return contents, [*faults, *sealed_faults(prefix, contents, compared)]


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


def _seal(prefix: Path, contents: Contents, lent: Collection[str]) -> list[Fault]:
    """Make all read-only but the top, and note the hash of what no record knows.

    So neither `pip install` in a cell nor Python's own byte-code changes an environment; what was
    lent stays. Returns the files that are in no record and should be, by which it is not sealed.
    """
    packages = tuple(f"{each}/" for each in site_packages(prefix))
    notes: dict[str, str] = {}
    faults: list[Fault] = []
    directories: list[str] = []
    for path, entry in walk(prefix, directories):
        if path in contents.files or path in lent:
            continue
        if path not in {MANIFEST, LOCK} and path not in contents.unhashed:
            if is_bytecode(path):
                # left by a check that imported; it has times in it, and the pool has better
                os.unlink(entry.path)
                continue
            if path.startswith(packages):
                faults.append(Fault(path=path, problem="not in the lock"))
                continue
        if path not in {MANIFEST, LOCK}:
            notes[path] = note(entry)
        _make_read_only(entry)
    if faults:
        return faults
    document = json.dumps(notes, separators=(",", ":"), sort_keys=True)
    write_atomically(prefix / NOTED, document.encode())
    (prefix / NOTED).chmod(0o444)
    for directory in reversed(directories):
        os.chmod(directory, 0o555)  # noqa: S103 - others may read it
    prefix.chmod(0o755)
    return []


def _make_read_only(entry: os.DirEntry[str]) -> None:
    if not entry.is_symlink():
        mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
        if mode != (wanted := read_only(mode)):
            os.chmod(entry.path, wanted)
