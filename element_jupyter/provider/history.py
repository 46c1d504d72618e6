"""What each job was at each version of the bundle: one file per job, a line per change.

A line is `<sequence> <document>`, oldest first. A bundle version is the sequence number of a
change; the job as of that version is the last line whose number is not greater.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def append(path: Path, sequence: int, document: str) -> None:
    """Add what the job became; `document` is one line. Doing it twice is as good as once."""
    torn = _torn(path)
    with path.open("a", encoding="utf-8") as file:
        # a line that a crash cut short must not swallow this one
        file.write(("\n" if torn else "") + f"{sequence} {document}\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, version: int) -> str:
    """Return what the job was at a version of the bundle.

    Raises:
        LookupError: it was not there then.
    """
    found: str | None = None
    for sequence, document in _lines(path):
        if sequence <= version:
            found = document
    if found is None:
        raise LookupError(f"There was no job {path.stem} at version {version} of the bundle.")
    return found


def newest(path: Path) -> str | None:
    """Return the last that is known of a job, None when nothing is."""
    found = None
    for _, document in _lines(path):
        found = document
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    for line in text.split("\n")[:-1]:
        number, _, document = line.partition(" ")
        # a line that a crash cut short ends in no bracket
        if number.isdigit() and document.endswith("}"):
            yield int(number), document


def _torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False
