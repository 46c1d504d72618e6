"""Why an environment is not made, where it is ours to say and no tool's."""

from __future__ import annotations

from typing import Final

from element_jupyter.core.environments.building import Failure, FailureCode
from element_jupyter.core.environments.keeping import Pin

HAS_CREDENTIALS: Final = Failure(
    code=FailureCode.INTERNAL,
    title="The lock holds credentials",
    summary="A URL in the lock has a user name or password in it, which must not be kept.",
    hints=("Take it out of the definition, and put it into ~/.netrc.",),
)


def another_lock(pin: Pin) -> Failure:
    """Say that a lock is not the one of a pin."""
    return Failure(
        code=FailureCode.HASH_MISMATCH,
        title="The lock is not the one that was pinned",
        summary=f"The lock of {pin.definition} that is kept is not the one with which the job was"
        " saved.",
        hints=("Save the job again: it is then pinned to what the definition says now.",),
    )


def another_platform(pin: Pin, here: str) -> Failure:
    """Say that no interpreter here makes the environment of a pin."""
    return Failure(
        code=FailureCode.PYTHON_MISMATCH,
        title="The pinned environment cannot be made on this machine",
        summary=f"{pin.definition} was locked for Python {pin.python} of another machine or build:"
        f" {here}.",
        hints=(
            "Run it where it was saved, or install the same build of Python here.",
            "Or save the job again here: it is then pinned to what this machine makes of it.",
        ),
    )


def vanished(pin: Pin) -> Failure:
    """Say that an environment was removed as soon as it was there."""
    return Failure(
        code=FailureCode.DAMAGED,
        title="The environment is gone",
        summary=f"The environment of {pin.definition} was built, and somebody has removed it.",
        hints=("Build it again.",),
        retryable=True,
    )
