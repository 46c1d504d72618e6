"""A project directory, an index, and uv between them, with nothing of the machine's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from element_jupyter.adapters.definitions import DiskFiles, Missing, find
from element_jupyter.adapters.uv import Interpreters, Uv
from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Failure,
    Lock,
    Phase,
    Rules,
)
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.environments.identity import Artefact, Interpreter
from tests.package_index import PackageIndex


@dataclass
class Told:
    """Everything that was told of a piece of work."""

    events: list[tuple[Phase, int | None, int | None, str]] = field(default_factory=list)

    def __call__(
        self, phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
    ) -> None:
        self.events.append((phase, done, total, message))

    @property
    def log(self) -> str:
        return "\n".join(message for *_, message in self.events if message)


@dataclass
class Bench:
    """What a test does with uv."""

    directory: Path
    index: PackageIndex
    rules: Rules
    interpreter: Interpreter
    uv: Uv
    told: Told = field(default_factory=Told)
    backend: str = ""
    _count: int = 0

    @property
    def project(self) -> Path:
        return self.directory / "project"

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for path, text in files.items():
            target = self.project / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())

    def find(self, document: Mapping[str, Any] | None = None, **options: Any) -> Found:
        (self.project / ".git").mkdir(parents=True, exist_ok=True)
        found = find(DiskFiles(self.project), "notebook.ipynb", document=document, **options)
        assert not isinstance(found, Missing), found
        return found

    def lock(self, found: Found | str | None = None, **options: Any) -> Lock:
        """Lock what is found; a text is the `requirements.txt`."""
        if isinstance(found, str):
            self.write({"requirements.txt": found})
            found = None
        self._count += 1
        return self.uv.lock(
            found or self.find(),
            self.interpreter,
            options.pop("rules", self.rules),
            self.told,
            scratch=self.directory / f"scratch-{self._count}",
            **options,
        )

    def failure(self, found: Found | str | None = None, **options: Any) -> Failure:
        with pytest.raises(EnvironmentFailed) as caught:
            self.lock(found, **options)
        return caught.value.failure

    def artefacts(self, lock: Lock) -> tuple[Artefact, ...]:
        return self.uv.artefacts(lock.content, self.interpreter)

    def versions(self, lock: Lock) -> dict[str, str]:
        return {each.name: each.version for each in self.artefacts(lock)}

    def install(self, lock: Lock | bytes, rules: Rules | None = None) -> Path:
        self._count += 1
        prefix = self.directory / f"environment-{self._count}"
        content = lock if isinstance(lock, bytes) else lock.content
        allowed = rules or self.rules
        self.uv.install(
            content,
            self.interpreter,
            allowed,
            self.told,
            prefix=prefix,
            final=self.directory / "final",
            cache=self.cache,
        )
        self.uv.check(content, self.interpreter, allowed, prefix=prefix, cache=self.cache)
        return prefix

    def allow(self, **changes: Any) -> None:
        self.rules = replace(self.rules, **changes)

    def set(self, **variables: str) -> None:
        self.allow(variables={**self.rules.variables, **variables})


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    """An index with tables, which need chairs, and a made-up kernel."""
    with PackageIndex() as index:
        index.wheel("tables", "1.0", requires=["chairs>=2"])
        index.wheel("chairs", "1.0")
        index.wheel("chairs", "2.0")
        index.wheel("chairs", "2.1")
        index.wheel("plates", "1.0")
        index.kernel()
        yield index


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    cache = tmp_path_factory.mktemp("interpreters") / "interpreters.json"
    return Interpreters(cache, _variables(Path.home())).choose("")


@pytest.fixture
def bench(tmp_path: Path, index: PackageIndex, interpreter: Interpreter) -> Bench:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "project").mkdir()
    return Bench(
        tmp_path,
        index,
        Rules(index_urls=(index.url,), variables=_variables(home), timeout_seconds=60),
        interpreter,
        Uv(cache=tmp_path / "cache"),
    )


def _variables(home: Path) -> dict[str, str]:
    # a mirror of PyPI may be behind certificates of its own
    kept = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "UV_HTTP_RETRIES": "0",
        **{name: os.environ[name] for name in kept if name in os.environ},
    }


def notebook(*cells: str) -> dict[str, Any]:
    """Return a notebook's JSON with these cells of code."""
    code: Sequence[dict[str, Any]] = [
        {"cell_type": "code", "source": each, "metadata": {}, "outputs": []} for each in cells
    ]
    return {"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def other_index() -> Iterator[PackageIndex]:
    """An index that nobody has allowed."""
    with PackageIndex() as index:
        yield index


@pytest.fixture(scope="session")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> Interpreters:
    """The machine's own."""
    cache = tmp_path_factory.mktemp("interpreters") / "interpreters.json"
    return Interpreters(cache, _variables(Path.home()))


@pytest.fixture
def another(interpreters: Interpreters, interpreter: Interpreter) -> Interpreter:
    """A Python of another minor version, where the machine has one."""
    minor = interpreter.version.split(".")[1]
    for each in interpreters.known():
        if each.version.split(".")[1] != minor:
            return each
    pytest.skip("there is one version of Python only")
