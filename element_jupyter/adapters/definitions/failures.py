"""How a definition that cannot be used is told: a sentence, the file, the line, the way out."""

from __future__ import annotations

from element_jupyter.adapters.definitions.sources import without_credentials
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import Requirement

SHOWN_CHARACTERS = 120


def unreadable(
    summary: str, *hints: str, file: str, line: int | None = None, spec: str = "", name: str = ""
) -> EnvironmentFailed:
    """Return the failure of a definition that is written wrongly."""
    return _failed(
        FailureCode.PARSE_ERROR, f"{file} cannot be read", summary, hints, (name, spec, file, line)
    )


def unsupported(
    summary: str, *hints: str, file: str, line: int | None = None, spec: str = "", name: str = ""
) -> EnvironmentFailed:
    """Return the failure of a definition that says what Element does not do."""
    title = f"{file} asks for what Element does not do"
    return _failed(FailureCode.NOT_SUPPORTED, title, summary, hints, (name, spec, file, line))


def shown(text: str) -> str:
    """Return text of a definition as a sentence may show it: short, printable, no credentials."""
    plain = "".join(each if each.isprintable() else "�" for each in text[:10_000])
    plain = without_credentials(plain)
    return plain if len(plain) <= SHOWN_CHARACTERS else f"{plain[: SHOWN_CHARACTERS - 1]}…"


def at(file: str, line: int | None) -> str:
    """Return where something is written: `requirements.txt:3`."""
    return f"{file}:{line}" if line else file


def _failed(
    code: FailureCode,
    title: str,
    summary: str,
    hints: tuple[str, ...],
    culprit: tuple[str, str, str, int | None],
) -> EnvironmentFailed:
    name, spec, file, line = culprit
    where = Requirement(name=name, spec=shown(spec), file=file, line=line)
    return EnvironmentFailed(
        Failure(code=code, title=title, summary=summary, hints=hints, culprits=(where,))
    )
