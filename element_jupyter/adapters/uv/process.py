"""Running the `uv` program: with which variables, for how long, and what it says."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Failure,
    FailureCode,
    Rules,
)

_PR_SET_PDEATHSIG: Final = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
_WATCH_SECONDS: Final = 0.1
_LONGEST_OUTPUT: Final = 20_000

_CREDENTIALS_IN_URL: Final = re.compile(r"(?P<scheme>[a-zA-Z][\w+.-]*://)[^/\s\"'`@]*@")
_OURS: Final = ("UV_", "PIP_", "PYTHON", "CONDA", "VIRTUAL_ENV", "ELEMENT_")
_PASSED: Final = re.compile(
    r"UV_INDEX_[A-Z0-9_]+_(?:USERNAME|PASSWORD)"
    r"|UV_(?:KEYRING_PROVIDER|CREDENTIALS_DIR|HTTP_TIMEOUT|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES"
    r"|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|CONCURRENT_DOWNLOADS|CONCURRENT_BUILDS)"
    r"|PYTHON_KEYRING_BACKEND"
)


class Command(Protocol):
    """A command that has been put into a sandbox."""

    @property
    def argv(self) -> Sequence[str]: ...

    @property
    def variables(self) -> Mapping[str, str]: ...


class Sandbox(Protocol):
    """Where build scripts run: without credentials, and with no way out but to `hosts`."""

    @property
    def unavailable(self) -> str | None:
        """Why there is none here, as a sentence."""

    def wrap(
        self,
        argv: Sequence[str],
        *,
        writable: Sequence[Path],
        readable: Sequence[Path],
        hosts: Sequence[str],
        variables: Mapping[str, str],
    ) -> AbstractContextManager[Command]: ...


@dataclass(frozen=True)
class Said:
    """How a run of `uv` has ended and what it said, without credentials."""

    code: int
    text: str


@dataclass
class Tool:
    """The `uv` program, under the rules of a deployment, for one piece of work.

    All its runs together may take `Rules.timeout_seconds`. It stays in the process group of this
    process, and is killed when the thread that runs it ends.
    """

    program: Path
    rules: Rules
    cache: Path | None
    sandbox: Sandbox | None = None
    deadline: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.rules.timeout_seconds

    def run(
        self,
        arguments: Sequence[str],
        *,
        directory: Path,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
        writable: Sequence[Path] | None = None,
        readable: Sequence[Path] = (),
        hosts: Sequence[str] = (),
    ) -> Said:
        """Run to the end; with `writable` in the sandbox, where only these can be written to.

        `on_line` is given each line as it comes, `watch` is called ten times a second.

        Raises:
            EnvironmentFailed: it took too long, or cannot be started.
        """
        argv = [str(self.program), *arguments, "--color", "never", "--no-progress"]
        variables = self.variables()
        if writable is None:
            return self._run(argv, variables, directory, on_line, watch)
        missing = "" if self.sandbox is None else self.sandbox.unavailable
        if self.sandbox is None or missing is not None:
            raise EnvironmentFailed(
                Failure(
                    code=FailureCode.NOT_SUPPORTED,
                    title="Packages cannot be built from source here",
                    summary="A package has to be built from its source, which runs its code, and"
                    f" there is no sandbox to do that in. {missing}".rstrip(),
                    hints=(
                        "Ask for a version that has a wheel.",
                        "Or have the administrator install bubblewrap (bwrap).",
                    ),
                )
            )
        with self.sandbox.wrap(
            argv, writable=writable, readable=readable, hosts=hosts, variables=variables
        ) as command:
            return self._run(list(command.argv), dict(command.variables), directory, on_line, watch)

    def variables(self) -> dict[str, str]:
        """Return the process environment: what the rules give, less what would steer `uv`."""
        given = self.rules.variables
        kept = {
            name: value
            for name, value in given.items()
            if not name.startswith(_OURS) or _PASSED.fullmatch(name)
        }
        cache = str(self.cache) if self.cache else given.get("UV_CACHE_DIR", "")
        return kept | {
            **({"UV_CACHE_DIR": cache} if cache else {}),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LINK_MODE": "hardlink",
            "UV_NO_ENV_FILE": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def _run(
        self,
        argv: list[str],
        variables: dict[str, str],
        directory: Path,
        on_line: Callable[[str], None] | None,
        watch: Callable[[], None] | None,
    ) -> Said:
        lines: list[str] = []
        with _started(argv, variables, directory) as process:

            def read() -> None:
                for line in process.stderr or ():
                    lines.append(without_credentials(line.rstrip("\n")))
                    if on_line is not None:
                        on_line(lines[-1])

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            while process.poll() is None:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    raise _too_long(self.rules.timeout_seconds, "\n".join(lines))
                if reader.is_alive():  # as long as it lives, which is told at once
                    reader.join(min(left, _WATCH_SECONDS))
                else:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(min(left, _WATCH_SECONDS))
                if watch is not None:
                    watch()
            reader.join(timeout=5)
        return Said(process.returncode, "\n".join(lines)[-_LONGEST_OUTPUT:])


@contextlib.contextmanager
def _started(
    argv: list[str], variables: dict[str, str], directory: Path
) -> Iterator[subprocess.Popen[str]]:
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            # what matters is written to files or said on the other stream
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=_dies_with_us(),  # noqa: PLW1509 - one system call, prepared before the fork
        )
    except OSError as error:
        raise EnvironmentFailed(
            Failure(
                code=FailureCode.INTERNAL,
                title="uv cannot be started",
                summary=f"{argv[0]} cannot be started: {error.strerror}.",
                hints=("Install Element's dependencies again.",),
            )
        ) from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _dies_with_us() -> Callable[[], None] | None:
    if _prctl is None:
        return None
    prctl, parent = _prctl, os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return prepare


def without_credentials(text: str) -> str:
    """Return a text whose URLs name no users and no passwords."""
    return _CREDENTIALS_IN_URL.sub(r"\g<scheme>", text)


def _too_long(seconds: float, said: str) -> EnvironmentFailed:
    return EnvironmentFailed(
        Failure(
            code=FailureCode.TIMEOUT,
            title="It took too long",
            summary=f"Making the environment has taken more than {seconds:g} seconds, its limit.",
            hints=(
                "Try again: what has been downloaded is kept.",
                "Or have the administrator raise Element.build_timeout_seconds.",
            ),
            tool_output=said[-_LONGEST_OUTPUT:],
            retryable=True,
        )
    )
