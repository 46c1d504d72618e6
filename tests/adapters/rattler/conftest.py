"""A channel behind HTTP, definitions, and uv as what adds Python packages."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from element_jupyter.adapters.rattler import Rattler
from element_jupyter.adapters.uv.on_conda import UvOnConda
from element_jupyter.core.environments.building import Lock, Phase, Rules
from element_jupyter.core.environments.definitions import (
    Definition,
    Found,
    Kind,
    Origin,
    Requirement,
)
from tests import conda_channel
from tests.package_index import PackageIndex


@dataclass
class Told:
    """What an engine has told."""

    said: list[tuple[Phase, int | None, int | None]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __call__(
        self, phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
    ) -> None:
        self.said.append((phase, done, total))
        self.lines += [message] if message else []


@dataclass
class Conda:
    """An engine, the channel, and where things are put."""

    channel: conda_channel.Served
    root: Path
    index: PackageIndex | None = None
    told: Told = field(default_factory=Told)

    @property
    def engine(self) -> Rattler:
        return Rattler(self.root / "cache", UvOnConda())

    def rules(self, **more: Any) -> Rules:
        usual: dict[str, Any] = {
            "channels": (self.channel.url,),
            "index_urls": (self.index.url,) if self.index else (),
            "variables": conda_channel.variables(self.root),
            "timeout_seconds": 60.0,
        }
        return Rules(**(usual | more))

    def found(self, text: str, **more: Any) -> Found:
        """Return a definition as it is found; the requirements are its lines with a dash."""
        files = {"environment.yml": text.replace("CHANNEL", self.channel.url).encode()}
        return a_definition(files, **more)

    def lock(self, found: Found | str, **more: Any) -> Lock:
        rules = more.pop("rules", None) or self.rules()
        scratch = Path(self.root, f"scratch-{os.urandom(4).hex()}")
        scratch.mkdir()
        found = self.found(found) if isinstance(found, str) else found
        return self.engine.lock(found, None, rules, self.told, scratch=scratch, **more)

    def install(self, lock: Lock | bytes, name: str = "env", **more: Any) -> Path:
        """Install as the store does: somewhere else, and then move it to its place."""
        content = lock if isinstance(lock, bytes) else lock.content
        half, final = self.root / f"half-{name}", self.root / name
        rules = more.pop("rules", None) or self.rules()
        cache = more.pop("cache", self.root / "cache")
        self.engine.install(content, None, rules, self.told, prefix=half, final=final, cache=cache)
        half.rename(final)
        return final


def a_definition(files: dict[str, bytes], **more: Any) -> Found:
    entry = str(more.pop("entry", next(iter(files))))
    lines = files[entry].decode().splitlines()
    requirements = [
        Requirement(name=spec.split()[0].split("=")[0], spec=spec, file=entry, line=number)
        for number, line in enumerate(lines, 1)
        if line.strip().startswith("- ") and (spec := line.strip().removeprefix("- "))
    ]
    definition = Definition(
        **{
            "kind": Kind.CONDA,
            "path": entry,
            "why": "It is the only one.",
            "entry": entry,
            "files": {k: hashlib.sha256(v).hexdigest() for k, v in files.items()},
            "meaning": hashlib.sha256(repr(files).encode()).hexdigest(),
            "requirements": requirements,
        }
        | more
    )
    return Found(definition, files)


def trusted(kind: str, location: str) -> frozenset[Origin]:
    return frozenset({Origin.model_validate({"kind": kind, "location": location})})


@pytest.fixture(scope="session")
def channel_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # beside the directory of this process, where others find it
    return conda_channel.cached(tmp_path_factory.getbasetemp().parent / "conda-channels")


@pytest.fixture(scope="session")
def shared_root(
    tmp_path_factory: pytest.TempPathFactory, channel_directory: Path
) -> Iterator[Conda]:
    """One engine with a warm cache for those tests that change nothing of the channel."""
    with conda_channel.serve(channel_directory) as served:
        yield Conda(served, tmp_path_factory.mktemp("conda"))


@pytest.fixture
def conda(shared_root: Conda, tmp_path: Path) -> Conda:
    """Return an engine of the shared cache; what it makes is in a directory of its own."""
    (tmp_path / "cache").symlink_to(_made(shared_root.root / "cache"))
    return Conda(shared_root.channel, tmp_path)


@pytest.fixture
def fresh(channel_directory: Path, tmp_path: Path) -> Iterator[Conda]:
    """Return an engine with an empty cache, and a channel whose answers can be changed."""
    with conda_channel.serve(channel_directory) as served:
        yield Conda(served, tmp_path)


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture
def in_environment() -> Callable[..., str]:
    """Return a function that runs Python of an environment."""

    def run(environment: Path, *arguments: str) -> str:
        done = subprocess.run(
            [environment / "bin" / "python", *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(environment)},
        )
        return done.stdout.strip()

    return run
