"""Why a project cannot be a snapshot, in words that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from element_jupyter.core.errors import Conflict, Invalid
from element_jupyter.core.snapshots import IGNORE_FILE


def unreadable(path: str, error: OSError) -> Invalid:
    """Say that a file cannot be read."""
    return Invalid(
        f"'{path}' cannot be read: {error.strerror}.",
        f"Make it readable, or name it in {IGNORE_FILE}.",
        field=path,
    )


def changed(path: str) -> Conflict:
    """Say that a file is not what it was a moment ago."""
    return Conflict(f"'{path}' has changed while the project was read.", "Try again.", field=path)


def not_a_file(path: str) -> Invalid:
    """Say that a file has no contents of its own."""
    return Invalid(
        f"'{path}' is a device, socket or pipe, which a snapshot cannot hold.",
        f"Remove it, or name it in {IGNORE_FILE}.",
        field=path,
    )


def refused(path: str, fault: str) -> Invalid:
    """Say what is wrong with a path."""
    return Invalid(
        f"{path!r} cannot be in a snapshot: {fault}.",
        f"Rename or remove it, or name it in {IGNORE_FILE}.",
        field=ascii(path)[1:-1],
    )


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn what a value refuses into what is wrong with this path."""
    try:
        yield
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise refused(path, fault.removeprefix("Value error, ")) from None
