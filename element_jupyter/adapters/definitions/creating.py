"""Making a definition of one's own: a directory with a `requirements.txt`, beside the notebooks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from element_jupyter.adapters.definitions.failures import shown
from element_jupyter.adapters.definitions.python_version import specifiers
from element_jupyter.adapters.definitions.requirement import parse_named
from element_jupyter.core.errors import Conflict, Invalid

_PLACE: Final = "envs"
"""The directory of such definitions, beside the notebooks that point at them."""


def checked(
    directory: Path, name: str, python: str, requirements: Sequence[str], *, replace: bool
) -> str:
    """Check what a definition would say, and return where it would be: `envs/NAME`.

    Args:
        directory: of the notebooks that are to point at it
        name: a slug
        python: a version or specifiers, or empty for any
        requirements: one each, empty ones aside
        replace: whether one of that name may be there

    Raises:
        Conflict: something of that name is there, or is a link; field `name`.
        Invalid: that is no version of Python (field `python`), or a line is no requirement (field
            `requirements.N`, counted from 0).
    """
    pointer = f"{_PLACE}/{name}"
    made = directory / pointer
    if made.is_symlink() or made.parent.is_symlink() or (made.exists() and not replace):
        raise Conflict(f"There is '{pointer}' already.", "Choose another name.", field="name")
    if python and specifiers(f"=={python}.*" if python[0].isdigit() else python) is None:
        raise Invalid(
            f"'{shown(python)}' is no version of Python.", "Write 3.12, or >=3.11.", field="python"
        )
    for number, line in enumerate(requirements):
        parsed = parse_named(line) if line else None
        if isinstance(parsed, str):
            raise Invalid(
                f"'{shown(line)}' is not a requirement: {shown(parsed.rstrip('.'))}.",
                "Write a package's name and, if wanted, versions: pandas>=2,<3.",
                field=f"requirements.{number}",
            )
    return pointer


def create(directory: Path, python: str, requirements: Sequence[str]) -> None:
    """Write a definition that was checked into its directory; what it said before is gone."""
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "requirements.txt", "".join(f"{line}\n" for line in requirements))
    if python:
        _write(directory / ".python-version", f"{python}\n")
    else:
        (directory / ".python-version").unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8") as file:
        file.write(text)
