"""Python packages on top of a conda environment: the `pip:` section of an `environment.yml`.

Wheels only: what would have to be built belongs into a conda package.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.pylock import PackageWheel

from element_jupyter.adapters.uv import lockfile
from element_jupyter.adapters.uv.failures import explain
from element_jupyter.adapters.uv.interpreters import target_of
from element_jupyter.adapters.uv.lockfile import Document
from element_jupyter.adapters.uv.locking import Resolving
from element_jupyter.adapters.uv.process import Tool
from element_jupyter.adapters.uv.projects import without_variables
from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Failure,
    FailureCode,
    Phase,
    Rules,
    Tell,
)
from element_jupyter.core.environments.definitions import Definition, Found
from element_jupyter.core.environments.identity import Artefact, Interpreter


class UvOnConda:
    """Locks and installs wheels into an interpreter that is no virtual environment.

    `cache` is uv's, by default what the rules' variables say.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache

    def lock(
        self,
        found: Found,
        python: Path,
        rules: Rules,
        tell: Tell,
        *,
        previous: Sequence[Artefact] = (),
        scratch: Path,
    ) -> tuple[Artefact, ...]:
        """Return the wheels of what a requirements file names, with all that they need.

        Raises:
            EnvironmentFailed: it cannot be resolved, or something has no wheel.
        """
        # the one that is asked is all that matters of it
        interpreter = Interpreter(
            path=str(python),
            implementation="cpython",
            version="",
            build=hashlib.sha256(str(python).encode()).hexdigest(),
            platform="",
        )
        scratch.mkdir(parents=True, exist_ok=True)
        resolving = Resolving(
            self._tool(rules),
            rules,
            interpreter,
            scratch,
            lambda line: tell(Phase.RESOLVING, message=line),
        )
        document = resolving.compiled(
            without_variables(found),
            preferred=_document(previous) if previous else None,
            upgrade=False,
        )
        selected = lockfile.select(document, target_of(interpreter))
        refused = [str(package.name) for package, file in selected if not _is_wheel(file)]
        if refused:
            raise EnvironmentFailed(_no_wheel(refused, found.definition))
        return tuple(lockfile.artefact(package, file) for package, file in selected)

    def install(self, wheels: Sequence[Artefact], python: Path, rules: Rules, tell: Tell) -> None:
        """Install exactly these into an interpreter's own `site-packages`, verified by hash.

        Raises:
            EnvironmentFailed: one cannot be had, or is not what its hash says.
        """
        tell(Phase.INSTALLING, 0, len(wheels))
        lock = lockfile.written(
            _document(wheels)["packages"], requires_python="", meaning="", python=""
        )
        with tempfile.TemporaryDirectory(prefix="element-uv-") as directory:
            Path(directory, "pylock.toml").write_bytes(lock)
            said = self._tool(rules).run(
                [
                    *("pip", "install", "--requirements", "pylock.toml", "--no-deps"),
                    *("--no-config", "--preview-features", "pylock", "--only-binary", ":all:"),
                    *("--python", str(python), "--no-python-downloads"),
                    # it is an environment of ours, whatever its Python's maker thinks
                    *("--break-system-packages", "--link-mode", "hardlink"),
                    *(["--offline"] if rules.offline else []),
                ],
                directory=Path(directory),
            )
        if said.code:
            raise EnvironmentFailed(explain(said.text, rules=rules))
        tell(Phase.INSTALLING, len(wheels), len(wheels))

    def _tool(self, rules: Rules) -> Tool:
        from uv import find_uv_bin

        return Tool(Path(find_uv_bin()), rules, self._cache)


def _is_wheel(file: object) -> bool:
    return isinstance(file, PackageWheel) and bool(file.url)


def _document(wheels: Sequence[Artefact]) -> Document:
    packages = [
        {
            "name": each.name,
            "version": each.version,
            "wheels": [{"name": each.filename, "url": each.url, "hashes": {"sha256": each.sha256}}],
        }
        for each in wheels
    ]
    return {"lock-version": "1.0", "created-by": "element", "packages": packages}


def _no_wheel(names: Sequence[str], definition: Definition) -> Failure:
    return Failure(
        code=FailureCode.NO_WHEEL,
        title="A package has no wheel",
        summary=f"{', '.join(names)} would have to be built, which is not done on top of conda"
        " packages.",
        hints=(f"Take the conda package of {names[0]}, or a version that has a wheel.",),
        culprits=tuple(each for each in definition.requirements if each.name in names),
    )
