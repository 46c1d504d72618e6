"""The Pythons of this machine: found by looking, asked once, remembered until they change."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import packaging
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.identity import Interpreter
from element_jupyter.core.errors import Invalid

if TYPE_CHECKING:  # choosing is on the way of every kernel's start, and needs no tags
    from packaging.tags import Tag

OLDEST: Final = Version("3.9")
"""Nothing older starts the kernels that can be had today."""

_NEWEST_MINOR: Final = 19
_PROBE_SECONDS: Final = 20.0

_PROBE: Final = """
import json, os, platform, sys, sysconfig
libc = ""
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    pass
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": platform.python_version(),
    "build": sys.version,
    "platform": sysconfig.get_platform() + ("-" + libc.replace(" ", "") if libc else ""),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "virtual": sys.prefix != sys.base_prefix,
}))
"""

_TARGET: Final = """
import json, sys
sys.path.append(sys.argv[1])
from packaging.markers import default_environment
from packaging.tags import sys_tags
print(json.dumps([default_environment(), [str(tag) for tag in sys_tags()]]))
"""


class Interpreters:
    """What Pythons there are, and which of them fits.

    `cache_file` remembers what each has answered; one that has changed on disk is asked again.
    `variables` are those of the tools: its PATH and HOME are searched.
    """

    def __init__(self, cache_file: Path, variables: Mapping[str, str]) -> None:
        self._cache_file = cache_file
        self._variables = variables
        self._answers: dict[str, dict[str, Any]] | None = None

    def choose(self, python: str, default: str = "") -> Interpreter:
        """Return the interpreter that meets the specifiers `python`; empty is any.

        `default` is preferred where it fits: a version (`3.12`), specifiers, or a path; empty is
        the Python that Element runs on. Else the newest that fits.

        Raises:
            EnvironmentFailed: none that is installed fits; `python_mismatch`.
            Invalid: what is asked for is no version.
        """
        wanted = specifiers(python, "python")
        if not default:
            own = self._probe(_base_executable())
            if own is not None and _meets(own, wanted):
                return own
        elif os.sep in default:
            named = self._probe(Path(default))
            if named is None:
                raise Invalid(
                    f"There is no usable Python at {default}.",
                    f"It has to be at least {OLDEST}; see Element.python.",
                    field="python",
                )
            if _meets(named, wanted):
                return named
        known = self.known()
        fitting = [each for each in known if _meets(each, wanted)]
        if default and os.sep not in default:
            preferred = specifiers(default, "Element.python")
            fitting = [each for each in fitting if _meets(each, preferred)] or fitting
        if fitting:
            return max(fitting, key=_preference)
        raise _none_fits(python, known)

    def known(self) -> tuple[Interpreter, ...]:
        """Return every interpreter here that can run a kernel, oldest first."""
        found = {each.path: each for path in self._candidates() if (each := self._probe(path))}
        return tuple(sorted(found.values(), key=lambda each: (Version(each.version), each.path)))

    def skipped(self) -> dict[str, str]:
        """Return the interpreters that cannot run a kernel, and why, by path."""
        why = {}
        for path in self._candidates():
            answer = self._answer(path)
            if answer is not None and (reason := _unusable(answer)):
                why[str(path)] = reason
        return why

    # ------------------------------------------------------------------------------------- looking

    def _candidates(self) -> Iterator[Path]:
        """Yield the executables to ask: real files, each once."""
        home = self._variables.get("HOME", "")
        pyenv = self._variables.get("PYENV_ROOT") or (f"{home}/.pyenv" if home else "")
        data = self._variables.get("XDG_DATA_HOME") or (f"{home}/.local/share" if home else "")
        managed = self._variables.get("UV_PYTHON_INSTALL_DIR") or (
            f"{data}/uv/python" if data else ""
        )
        directories = [Path(pyenv, "versions")] if pyenv else []
        directories += [Path(managed)] if managed else []
        bins = [each / "bin" for top in directories for each in _children(top)]
        path = self._variables.get("PATH", "")
        # pyenv's shims are scripts that answer for whatever is configured where they are called
        bins += [Path(each) for each in path.split(os.pathsep) if each and "shims" not in each]
        bins.append(Path("/usr/bin"))
        names = ["python3", *(f"python3.{minor}" for minor in range(_NEWEST_MINOR, -1, -1))]
        seen: set[Path] = set()
        own = _base_executable()
        for candidate in (own, *(each / name for each in bins for name in names)):
            with contextlib.suppress(OSError, RuntimeError):
                real = candidate.resolve(strict=True)
                if real not in seen and os.access(real, os.X_OK):
                    seen.add(real)
                    yield own if real == own.resolve() else candidate

    # -------------------------------------------------------------------------------------- asking

    def _probe(self, path: Path) -> Interpreter | None:
        answer = self._answer(path)
        if answer is None or _unusable(answer):
            return None
        return Interpreter(
            path=str(path),
            implementation=answer["implementation"],
            version=answer["version"],
            build=hashlib.sha256(answer["build"].encode()).hexdigest(),
            platform=answer["platform"],
        )

    def _answer(self, path: Path) -> dict[str, Any] | None:
        """Return what an interpreter says of itself, remembered by the state of its file."""
        try:
            real = path.resolve(strict=True)
            status = real.stat()
        except (OSError, RuntimeError):
            return None
        stamp = [str(real), status.st_size, status.st_mtime_ns, status.st_ino]
        if self._answers is None:
            self._answers = self._remembered()
        entry = self._answers.get(str(path))
        if not isinstance(entry, dict) or entry.get("stamp") != stamp:
            entry = {"stamp": stamp, "answer": _ask(path)}
            # others may have asked meanwhile; what they have learnt is kept
            self._answers = {**self._remembered(), **self._answers, str(path): entry}
            self._remember()
        answer = entry.get("answer")
        return answer if isinstance(answer, dict) else None

    def _remembered(self) -> dict[str, dict[str, Any]]:
        try:
            read = json.loads(self._cache_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}

    def _remember(self) -> None:
        # a cache that cannot be written is one that is asked again, nothing worse
        with contextlib.suppress(OSError):
            self._cache_file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(
                dir=self._cache_file.parent, prefix=".interpreters"
            )
            with os.fdopen(handle, "w") as file:
                json.dump(self._answers, file)
            Path(temporary).replace(self._cache_file)


class Target:
    """What wheels and markers an interpreter accepts."""

    def __init__(self, environment: Mapping[str, str], tags: tuple[Tag, ...]) -> None:
        self.environment = environment
        self.tags = tags


def target_of(interpreter: Interpreter) -> Target:
    """Return what an interpreter accepts; asked of itself, once per process.

    Raises:
        EnvironmentFailed: it does not run; `python_mismatch`.
    """
    return _target(interpreter.path, interpreter.build)


@functools.lru_cache(maxsize=32)
def _target(path: str, build: str) -> Target:
    from packaging.markers import default_environment
    from packaging.tags import Tag, sys_tags

    if build == hashlib.sha256(sys.version.encode()).hexdigest():
        return Target({k: str(v) for k, v in default_environment().items()}, tuple(sys_tags()))
    answer = _run(Path(path), _TARGET, str(Path(packaging.__file__).parent.parent))
    if answer is None:
        raise EnvironmentFailed(
            Failure(
                code=FailureCode.PYTHON_MISMATCH,
                title="The Python of this environment does not run",
                summary=f"{path} does not answer.",
                hints=("Install it again, or ask for another version of Python.",),
            )
        )
    environment, tags = answer
    return Target(environment, tuple(Tag(*each.split("-")) for each in tags))


def _ask(path: Path) -> dict[str, Any] | None:
    answer = _run(path, _PROBE)
    return answer if isinstance(answer, dict) else None


def _run(path: Path, code: str, *arguments: str) -> Any:
    """Return the JSON that a program prints in an interpreter without site and variables."""
    try:
        done = subprocess.run(
            [path, "-I", "-S", "-c", code, *arguments],
            capture_output=True,
            check=True,
            env={},
            stdin=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
        )
        return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _base_executable() -> Path:
    """Return the interpreter that Element's own environment was made from."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    installed = Path(sys.base_prefix) / "bin" / name
    return installed if installed.exists() else Path(sys.executable).resolve()


def _unusable(answer: Mapping[str, Any]) -> str:
    """Return why an interpreter cannot run kernels, or nothing."""
    if Version(answer["version"]) < OLDEST:
        return f"Python {answer['version']} is older than {OLDEST}, and no kernel runs on it"
    if answer["virtual"]:
        return "it is a virtual environment"
    return (
        "it is free-threaded, and few packages are built for it" if answer["free_threaded"] else ""
    )


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def specifiers(text: str, field: str) -> SpecifierSet:
    """Read PEP 440 specifiers, or a bare version: `3.12` is `==3.12.*`.

    Raises:
        Invalid: it is neither.
    """
    bare = re.fullmatch(r"\s*(\d+(?:\.\d+){0,2})\s*", text)
    if bare:
        text = f"=={bare[1]}" + (".*" if bare[1].count(".") < 2 else "")
    try:
        return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise Invalid(
            f"'{text}' does not say which Python is wanted.",
            "It is like 3.12 or >=3.11,<3.13.",
            field=field,
        ) from error


def _meets(interpreter: Interpreter, wanted: SpecifierSet) -> bool:
    return wanted.contains(interpreter.version, prereleases=True)


def _preference(interpreter: Interpreter) -> tuple[Any, ...]:
    version = Version(interpreter.version)
    return (interpreter.implementation == "cpython", not version.is_prerelease, version)


def _none_fits(python: str, known: tuple[Interpreter, ...]) -> EnvironmentFailed:
    versions = sorted({Version(each.version) for each in known})
    have = ", ".join(str(each) for each in versions) or "none"
    hints = [f"Ask for one of these in the definition: {have}."] if versions else []
    hints.append("Or have the administrator install it: Element never downloads interpreters.")
    return EnvironmentFailed(
        Failure(
            code=FailureCode.PYTHON_MISMATCH,
            title="The Python that is asked for is not installed",
            summary=f"The definition needs Python {python}, and installed here are: {have}.",
            hints=tuple(hints),
        )
    )
