"""The byte-code pool: each module is compiled once, and hard-linked into every environment.

A published environment is read-only, so no kernel could ever keep the byte-code of what it imports.
An entry is `pyc/<cache tag>-<magic>/<aa>/<key>-<sha256 of it>`, the key being of the module's path
in its environment and its content. Nothing here is in anybody's way: byte-code appears in an
environment file by file, each by one link, while kernels run in it.
"""

# there are tens of thousands of files
# ruff: noqa: PTH103, PTH105, PTH116, PTH119, PTH120, PTH123, PTH208

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from element_jupyter.adapters.environment_store.contents import (
    Contents,
    hash_of,
    recorded,
    recorded_of,
)
from element_jupyter.adapters.environment_store.layout import Layout, room
from element_jupyter.core.errors import ElementError, NotFound

_WORKER: Final = Path(__file__).with_name("compile_worker.py")
_WORKERS: Final = min(4, os.cpu_count() or 1)
_TOLD_EVERY: Final = 100
_ASK: Final = (
    "import sys, importlib.util as u; print(sys.implementation.cache_tag, u.MAGIC_NUMBER.hex())"
)
_ASK_SECONDS: Final = 60.0

Progress = Callable[[int, int], None]
"""Is told how many modules of how many have their byte-code."""


class _Module(NamedTuple):
    source: str
    """Relative to the prefix."""
    sha256: str
    key: str

    @property
    def cache(self) -> str:
        return os.path.dirname(self.source) + "/__pycache__"

    def name(self, tag: str) -> str:
        return f"{os.path.basename(self.source)[:-3]}.{tag}.pyc"


class BytecodePool:
    """Gives environments the byte-code of their modules."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._listed: dict[str, dict[str, list[str]]] = {}

    def compile(self, prefix: Path, tell: Progress) -> None:
        """Link the byte-code of all modules into an environment, compiling what no other had.

        What is there already is left; a run that was killed is gone on with. Modules that do not
        compile are left out.

        Raises:
            EnvironmentFailed: the disk is full.
            NotFound: the environment is not there, or was removed meanwhile.
        """
        try:
            with room(self._layout.root):
                self._compile(prefix, tell)
        except FileNotFoundError as error:
            if prefix.is_dir():
                raise
            raise NotFound(f"The environment {prefix.name} was removed.") from error

    def lend(self, prefix: Path, distributions: Collection[str]) -> set[str]:
        """Link what is there for a few distributions into an environment that nobody sees yet.

        It compiles nothing, and what cannot be linked is left out. Return what was linked, relative
        to the prefix.
        """
        lent = set()
        contents = recorded_of(prefix, distributions)
        for pool in self._layout.pyc.glob("*-*"):
            tag = pool.name.rpartition("-")[0]
            entries = self._entries(pool.name)
            for module in _modules(contents, tag):
                path = f"{module.cache}/{module.name(tag)}"
                if module.key in entries and path not in lent:
                    with contextlib.suppress(OSError):
                        os.makedirs(f"{prefix}/{module.cache}", exist_ok=True)
                        os.link(f"{pool}/{entries[module.key][0]}", f"{prefix}/{path}")
                        lent.add(path)
        return lent

    def has(self, source: str, sha256: str, file: str) -> bool:
        """Tell whether a file is the pool's byte-code of a module."""
        with open(file, "rb") as opened:
            magic = opened.read(4).hex()
        tag = os.path.basename(file).split(".")[-2]
        entries = self._entries(f"{tag}-{magic}").get(_key(source, sha256), ())
        return bool(entries) and f"-{hash_of(file)}" in {each[-65:] for each in entries}

    def sweep(self, minimum_age_seconds: float) -> None:
        """Remove what no environment has, and what killed processes left half done."""
        limit = time.time() - minimum_age_seconds
        for path in self._layout.pyc.glob("*/??/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if status.st_nlink == 1 and status.st_ctime < limit:
                    path.unlink()

    def _compile(self, prefix: Path, tell: Progress) -> None:
        tag, _, magic = _ask(prefix).partition(" ")
        pool = self._layout.pyc / f"{tag}-{magic}"
        pool.mkdir(mode=0o755, exist_ok=True)
        modules = list(_modules(recorded(prefix), tag))
        entries = self._entries(pool.name, fresh=True)
        missing = [each for each in modules if each.key not in entries]
        done = len(modules) - len(missing)
        by_cache: dict[str, list[_Module]] = defaultdict(list)
        for module in modules:
            if module.key in entries:
                by_cache[module.cache].append(module)
        for cache, those in by_cache.items():
            with _opened(prefix / cache):
                for module in those:
                    _link(f"{pool}/{entries[module.key][0]}", f"{prefix}/{cache}", module.name(tag))
        tell(done, len(modules))
        for module, name in _compiled(prefix, pool, missing):
            if name != "-":
                with _opened(prefix / module.cache):
                    _link(f"{pool}/{name}", f"{prefix}/{module.cache}", module.name(tag))
            done += 1
            if done % _TOLD_EVERY == 0 or done == len(modules):
                tell(done, len(modules))
        self._listed.pop(pool.name, None)

    def _entries(self, pool: str, *, fresh: bool = False) -> dict[str, list[str]]:
        """Return what is in a pool: by key, the names of its entries."""
        if fresh or pool not in self._listed:
            found: dict[str, list[str]] = defaultdict(list)
            for directory in (self._layout.pyc / pool).glob("??"):
                for name in os.listdir(directory):
                    if not name.startswith("."):
                        found[name.partition("-")[0]].append(f"{directory.name}/{name}")
            self._listed[pool] = dict(found)
        return self._listed[pool]


def _key(source: str, sha256: str) -> str:
    return hashlib.sha256(f"{source}\0{sha256}".encode()).hexdigest()[:40]


def _modules(contents: Contents, tag: str) -> Iterator[_Module]:
    for source, digest in contents.files.items():
        # no statement imports a file with two dots in its name
        modules = source.startswith("lib/python") and source.endswith(".py")
        if modules and digest.sha256 and source.rpartition("/")[2].count(".") == 1:
            module = _Module(source, digest.sha256, _key(source, digest.sha256))
            # a package that brings its byte-code along keeps it
            its_own = f"{module.cache}/{module.name(tag)}"
            if its_own not in contents.files and its_own not in contents.unhashed:
                yield module


def _ask(prefix: Path) -> str:
    """Return the cache tag and the magic number of an environment's Python."""
    argv = [f"{prefix}/bin/python", "-I", "-S", "-c", _ASK]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    if done.returncode:
        raise ElementError(
            f"The Python of the environment {prefix.name} does not run.",
            "Build it again: `element env build`.",
            details=done.stderr,
        )
    return done.stdout.strip()


@contextmanager
def _opened(cache: Path) -> Iterator[None]:
    """Let files be added to a read-only `__pycache__`."""
    try:
        cache.chmod(0o755)
    except FileNotFoundError:
        cache.parent.chmod(0o755)
        try:
            cache.mkdir(exist_ok=True)
        finally:
            cache.parent.chmod(0o555)
    try:
        yield
    finally:
        cache.chmod(0o555)


def _link(entry: str, cache: str, name: str) -> None:
    """Have an entry of the pool in an environment, in the place of what Python wrote itself."""
    path = f"{cache}/{name}"
    try:
        os.link(entry, path)
    except FileExistsError:
        there, ours = os.stat(path), os.stat(entry)
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            temporary = f"{cache}/.{uuid.uuid4().hex}"
            os.link(entry, temporary)
            os.replace(temporary, path)


def _compiled(
    prefix: Path, pool: Path, modules: Sequence[_Module]
) -> Iterator[tuple[_Module, str]]:
    """Compile in a few processes at once; yield each module with its name in the pool, or `-`."""
    shares = [modules[start::_WORKERS] for start in range(_WORKERS) if modules[start::_WORKERS]]
    with ExitStack() as stack:
        running = [stack.enter_context(_worker(prefix, pool, share)) for share in shares]
        for number, module in enumerate(modules):
            name = running[number % _WORKERS].readline().strip()
            if not name:
                raise ElementError(
                    "Compiling the modules of an environment stopped early.",
                    "It goes on where it was with the next build.",
                )
            yield module, name


@contextmanager
def _worker(prefix: Path, pool: Path, modules: Sequence[_Module]) -> Iterator[IO[str]]:
    lines = (
        json.dumps([f"{prefix}/{each.source}", f"/{each.source}", each.key, each.sha256]) + "\n"
        for each in modules
    )
    # a file, so that neither waits for the other to read
    with tempfile.TemporaryFile("w+", encoding="utf-8") as work:
        work.writelines(lines)
        work.seek(0)
        process = subprocess.Popen(
            [prefix / "bin/python", "-I", "-S", _WORKER, pool],
            stdin=work,
            stdout=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            yield cast("IO[str]", process.stdout)
        finally:
            process.kill()
