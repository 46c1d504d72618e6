"""`Rattler`: the engine of conda definitions."""

from __future__ import annotations

import importlib.util
import posixpath
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from element_jupyter.adapters.rattler import pixi
from element_jupyter.adapters.rattler.calling import WorkerError, ask
from element_jupyter.adapters.rattler.channels import refuse_untrusted
from element_jupyter.adapters.rattler.document import (
    Document,
    from_rattler,
    is_document,
    parse,
)
from element_jupyter.adapters.rattler.environment_file import read_environment_file
from element_jupyter.adapters.rattler.failures import explained, failed, not_installed
from element_jupyter.adapters.rattler.python_packages import PythonPackages, provided_by_conda
from element_jupyter.adapters.rattler.scripts import point_scripts_at
from element_jupyter.core.environments.building import FailureCode, Lock, Phase, Rules, Tell
from element_jupyter.core.environments.definitions import Found, Kind
from element_jupyter.core.environments.identity import Artefact, Backend, Interpreter

KERNEL: Final = "ipykernel"


class Rattler:
    """Locks and installs conda environments; an `Engine`.

    The interpreter is one of the packages, so `interpreter` is always None. ipykernel comes from
    the definition's channels if they have one that fits, else from an index of Python packages.
    """

    def __init__(
        self, cache: Path | None = None, python_packages: PythonPackages | None = None
    ) -> None:
        """`cache` keeps what channels offer, and packages, between locks.

        Without it, it is what the rules' variables say (`RATTLER_CACHE_DIR`), or nothing is kept.
        """
        self._cache = cache
        self._python_packages = python_packages

    # --------------------------------------------------------------------------------- locking

    def lock(
        self,
        found: Found,
        interpreter: Interpreter | None,
        rules: Rules,
        tell: Tell,
        *,
        previous: bytes | None = None,
        upgrade: bool = False,
        scratch: Path,
    ) -> Lock:
        _must_be_installed()
        tell(Phase.RESOLVING)
        said = rules.variables.get("RATTLER_CACHE_DIR", scratch / "rattler-cache")
        job = _Job(found, rules, tell, scratch, self._cache or Path(said))
        if found.definition.lock_path is not None:
            document = self._from_lock(job)
        elif found.definition.kind is Kind.PIXI:
            raise pixi.without_lock(found)
        else:
            before = parse(previous) if previous and is_document(previous) else None
            document = self._solved(job, None if upgrade else before)
        return Lock(Backend.RATTLER, document.content, document.python)

    def _solved(self, job: _Job, before: Document | None) -> Document:
        asked = read_environment_file(job.found, job.rules)
        refuse_untrusted(job.found, asked.channels, job.rules)
        answer = job.solve(
            asked.channels,
            asked.specs,
            preferred=[] if KERNEL in asked.pip_names else [KERNEL],
            known=before.text if before else "",
        )
        lines = [*asked.pip, *answer["without"]]
        known = before.wheels if before else ()
        wheels = self._wheels(job, answer, lines, (), known) if lines else ()
        return job.document(answer, asked.channels, wheels)

    def _from_lock(self, job: _Job) -> Document:
        """Take a person's own lock as it is, and add the kernel if it has none."""
        for line in pixi.passed_over(job.found):
            job.tell(Phase.RESOLVING, message=line)
        answer, wheels = pixi.read(job.found, job.rules, job.scratch, job.ask)
        channels = answer["channels"]
        if KERNEL not in answer["versions"] and KERNEL not in {each.name for each in wheels}:
            answer = job.solve(channels, [], preferred=[KERNEL], known=answer["lock"], pinned=True)
            if answer["without"]:
                wheels = self._wheels(job, answer, [KERNEL], wheels, ())
        return job.document(answer, channels, wheels)

    def _wheels(
        self,
        job: _Job,
        answer: dict[str, Any],
        lines: Sequence[str],
        besides: tuple[Artefact, ...],
        previous: tuple[Artefact, ...],
    ) -> tuple[Artefact, ...]:
        """Lock Python packages for the interpreter of a solution, and add them to `besides`."""
        tool = self._tool()
        prefix = job.scratch / "conda"
        # what conda's packages are to others, and which wheels fit, only the environment can tell
        job.install(answer["lock"], prefix=prefix, final=prefix, cache=job.cache)
        fixed = provided_by_conda(prefix) | {each.name: each.version for each in besides}
        job.tell(Phase.RESOLVING)
        found = _section(job.found, lines, fixed)
        wheels = tool.lock(
            found,
            prefix / "bin" / "python",
            job.rules,
            job.tell,
            previous=previous,
            scratch=job.scratch / "pip",
        )
        return (*besides, *(each for each in wheels if each.name not in fixed))

    # ------------------------------------------------------------------- artefacts and installing

    def artefacts(self, content: bytes, interpreter: Interpreter | None) -> tuple[Artefact, ...]:
        return parse(content).artefacts

    def install(
        self,
        content: bytes,
        interpreter: Interpreter | None,
        rules: Rules,
        tell: Tell,
        *,
        prefix: Path,
        final: Path,
        cache: Path,
    ) -> None:
        _must_be_installed()
        document = parse(content)
        wheels = document.wheels
        tool = self._tool() if wheels else None
        with tempfile.TemporaryDirectory(prefix="element-conda-") as temporary:
            job = _Job(None, rules, tell, Path(temporary), cache)
            job.install(document.text, prefix=prefix, final=final, cache=cache)
            if tool is not None:
                tool.install(wheels, prefix / "bin" / "python", rules, tell)
                point_scripts_at(final, prefix)

    def check(
        self,
        content: bytes,
        interpreter: Interpreter | None,
        rules: Rules,
        *,
        prefix: Path,
        cache: Path,
    ) -> None:
        """Return at once: conda's solver has seen to it, and uv to what is on top of it."""

    def _tool(self) -> PythonPackages:
        if self._python_packages is None:
            raise failed(
                FailureCode.NOT_SUPPORTED,
                "Python packages cannot be added to conda's here",
                "This environment needs packages from an index besides those from its channels.",
                "Name conda packages only, and ipykernel among them.",
            )
        return self._python_packages


class _Job:
    """One lock or installation: what is asked of the worker has the same few things in common."""

    def __init__(
        self, found: Found | None, rules: Rules, tell: Tell, scratch: Path, cache: Path
    ) -> None:
        self._found = found
        self.rules = rules
        self.tell = tell
        self.scratch = scratch
        self.cache = cache

    @property
    def found(self) -> Found:
        if self._found is None:
            raise TypeError("only what is locked has been found")
        return self._found

    def ask(self, operation: str, **more: Any) -> dict[str, Any]:
        request = {
            "operation": operation,
            "scratch": str(self.scratch),
            "cache": str(self.cache),
            "offline": self.rules.offline,
            **more,
        }
        try:
            return ask(request, self.rules, self.tell, self.scratch)
        except WorkerError as error:
            raise explained(error.kind, error.message, self._found) from error

    def solve(
        self,
        channels: Sequence[str],
        specs: Sequence[str],
        *,
        preferred: Sequence[str],
        known: str,
        pinned: bool = False,
    ) -> dict[str, Any]:
        return self.ask(
            "solve",
            channels=list(channels),
            specs=list(specs),
            preferred=list(preferred),
            locked=known,
            pinned=pinned,
            exclude_newer=_instant(self.rules.exclude_newer),
            timeout_seconds=self.rules.timeout_seconds,
        )

    def install(self, lock: str, *, prefix: Path, final: Path, cache: Path) -> None:
        self.ask("install", lock=lock, prefix=str(prefix), final=str(final), cache=str(cache))

    def document(
        self, answer: dict[str, Any], channels: Sequence[str], wheels: Sequence[Artefact]
    ) -> Document:
        text = answer["lock"]
        if wheels:
            rows = [each.model_dump() for each in wheels]
            text = self.ask("write", lock=text, channels=list(channels), wheels=rows)["lock"]
        meaning = self.found.definition.meaning
        return Document(meaning, self.python(answer), answer["platform"], from_rattler(text))

    def python(self, answer: dict[str, Any]) -> str:
        version: str | None = answer["versions"].get("python")
        if version is None:
            raise failed(
                FailureCode.PYTHON_MISMATCH,
                "There is no Python in it",
                f"{self.found.definition.path} gives an environment without Python.",
                "Add python to its dependencies.",
            )
        return version


def _section(found: Found, lines: Sequence[str], fixed: Mapping[str, str]) -> Found:
    """Return lines of a `pip:` section as a requirements file where they were written."""
    entry = f"{found.definition.entry}.pip.txt"
    constraints = f"{found.definition.entry}.conda.txt"
    own = [*lines, f"-c {posixpath.basename(constraints)}"]
    contents = {
        **found.contents,
        entry: "".join(f"{line}\n" for line in own).encode(),
        constraints: "".join(f"{name}=={fixed[name]}\n" for name in sorted(fixed)).encode(),
    }
    definition = found.definition.model_copy(
        update={"kind": Kind.REQUIREMENTS, "entry": entry, "lock_path": None}
    )
    return replace(found, definition=definition, contents=contents)


def _must_be_installed() -> None:
    if importlib.util.find_spec("rattler") is None:
        raise not_installed()


def _instant(text: str | None) -> str | None:
    """Return a date or time as uv reads it: a date includes its day."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise failed(
            FailureCode.NOT_SUPPORTED,
            "exclude-newer is no date",
            f"Conda packages can be limited to a date like 2026-01-31, not to '{text}'.",
        ) from error
    if len(text) <= 10:
        at = datetime.combine(date.fromisoformat(text) + timedelta(days=1), at.time(), UTC)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
