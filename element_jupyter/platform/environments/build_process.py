"""The process that builds an environment: `python -P -m …build_process <directory of the build>`.

It has a session of its own and a lower priority, outlives whoever started it, and tells what it
does in `events.jsonl`. SIGTERM cancels it. Once the environment is ready it gives the build up and
goes on to compile byte-code, for which nobody waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from element_jupyter.core.environments.building import (
    BuildEvent,
    EnvironmentFailed,
    Failure,
    FailureCode,
    Phase,
)
from element_jupyter.core.environments.keeping import Manifest
from element_jupyter.core.errors import ElementError
from element_jupyter.platform.environments.builds import CANCELLED, Build, Request, plain
from element_jupyter.platform.environments.ensuring import Maker
from element_jupyter.platform.environments.keeping import compile_bytecode

_NICENESS: Final = 5
_LAST_SECONDS: Final = 10
"""What a build that was asked to end may take for it."""


class _Ended(BaseException):
    """The build has to end now; no `except Exception` of a library keeps it from that."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


class _Teller:
    """Writes down what the build tells."""

    def __init__(self, build: Build) -> None:
        last = build.last_event
        self._build = build
        self._sequence = last.sequence if last else 0
        self._environment_id: str | None = None
        self._lock_id: str | None = None

    def resolved(self, environment_id: str, lock_id: str) -> None:
        self._environment_id, self._lock_id = environment_id, lock_id

    def __call__(
        self,
        phase: Phase,
        done: int | None = None,
        total: int | None = None,
        message: str = "",
        failure: Failure | None = None,
    ) -> None:
        if failure is not None:
            texts = {name: plain(getattr(failure, name)) for name in ("summary", "tool_output")}
            failure = failure.model_copy(update=texts)
        self._sequence += 1
        self._build.log.append(
            BuildEvent(
                sequence=self._sequence,
                at=datetime.now(UTC),
                phase=phase,
                done=done,
                total=total,
                message=plain(message),
                environment_id=self._environment_id,
                lock_id=self._lock_id,
                failure=failure,
            )
        )


def run(directory: Path, inherited: int | None = None) -> int:
    """Make what the build's request asks for; returns the exit code of the process.

    `inherited` is the descriptor through which a parent has passed the claim on.
    """
    build = Build(directory)
    claim = build.inherited(inherited) if inherited is not None else None
    claim = claim or build.claim()
    if claim is None:
        return 0  # another builds it already
    request = build.take_request()
    build.record(os.getpid(), request)
    settings = request.element
    teller = _Teller(build)
    failure: Failure | None = None
    manifest: Manifest | None = None
    maker = Maker(settings, os.environ)
    try:
        with _interruptible(settings.build_timeout_seconds):
            manifest = _make(maker, request, teller)
    except _Ended as ended:
        failure = ended.failure
    except EnvironmentFailed as error:
        failure = error.failure
    except Exception as error:  # noqa: BLE001 - whatever it is, who waits must be told
        traceback.print_exc()
        failure = _unforeseen(error)
    _end_children()
    if manifest is None:
        teller(Phase.FAILED, failure=failure)
    else:
        count = len(manifest.packages)
        teller(Phase.READY, count, count, f"{manifest.definition} is ready")
    claim.release()
    if manifest is None:
        return 1
    # what follows may be ended at any time: another goes on with it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    compile_bytecode(maker.lookup, manifest.environment_id)
    maker.lookup.store.sweep()
    return 0


def _make(maker: Maker, request: Request, teller: _Teller) -> Manifest:
    if request.pin is not None:
        teller.resolved(request.pin.environment_id, request.pin.lock_id)
        content = maker.lookup.store.lock_content(request.pin.lock_id)
        return maker.make_locked(request.pin, content or b"", teller)
    if request.found is None:
        raise ValueError("the request names nothing to build")
    return maker.make(request.found, teller, upgrade=request.upgrade, resolved=teller.resolved)


@contextlib.contextmanager
def _interruptible(timeout_seconds: float) -> Iterator[None]:
    """Let SIGTERM and the passing of time end what is done inside."""

    def end(number: int, _: FrameType | None) -> None:
        # if even the clean-up hangs, the process ends without a word, which is told as cancelled
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, _LAST_SECONDS)
        raise _Ended(_timeout(timeout_seconds) if number == signal.SIGALRM else CANCELLED)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, timeout_seconds)
    try:
        yield
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_children() -> None:
    """End tools that were left; they are in the session of this process, which ignores it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.getsid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGTERM)


def _timeout(seconds: float) -> Failure:
    return Failure(
        code=FailureCode.TIMEOUT,
        title="The build took too long",
        summary=f"The environment was not ready after {seconds:.0f} s, and the build was ended.",
        hints=(
            "Start it again: what was downloaded is kept.",
            "Or ask the administrator for a larger Element.build_timeout_seconds.",
        ),
        retryable=True,
    )


def _unforeseen(error: Exception) -> Failure:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Failure(
            code=FailureCode.DISK_FULL,
            title="No room for the environment",
            summary=f"The disk is full: {error.filename or 'a file'} could not be written.",
            hints=("Run `element env prune`, or free space on the disk.",),
            retryable=True,
        )
    if isinstance(error, ElementError):
        hints = (error.hint,) if error.hint else ()
        return Failure(
            code=FailureCode.INTERNAL,
            title="The environment cannot be made",
            summary=error.message,
            hints=hints,
            tool_output=error.details,
        )
    return Failure(
        code=FailureCode.INTERNAL,
        title="The environment cannot be made",
        summary=f"Something unforeseen has happened: {type(error).__name__}: {error}.",
        hints=("Start it again. If it comes back, tell the administrator, with what is below.",),
        tool_output="".join(traceback.format_exception(error))[-20_000:],
        retryable=True,
    )


def main() -> int:
    """Take over the claim that the parent has passed as standard input, and build."""
    directory = Path(sys.argv[1])
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    passed = os.dup(0)  # tools that are started must not inherit it
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    return run(directory, passed)


if __name__ == "__main__":
    sys.exit(main())
