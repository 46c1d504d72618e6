"""What can be said of a notebook before it is scheduled."""

from __future__ import annotations

from enum import StrEnum

from element_jupyter.core.parameters import Parameter
from element_jupyter.core.values import Name, Value


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    """May be accepted by the person."""
    ERROR = "error"
    """The job would fail for certain."""


class FindingCode(StrEnum):
    """What was found, for programs."""

    HIDDEN_STATE = "hidden_state"
    """Cells were run in another order than they stand in, or not at all."""
    NO_PARAMETERS = "no_parameters"
    LEFT_OUT = "left_out"
    """The notebook, or what it names or imports, is in the project and not in the snapshot."""
    OUTSIDE = "outside"
    """A file that the notebook names is outside the project."""
    NO_MODULE = "no_module"
    """The notebook's environment is ready, and does not have a module that is imported."""
    TOO_LARGE = "too_large"
    """The project is over a limit of snapshots, or near it."""
    NO_SNAPSHOT = "no_snapshot"
    """The project cannot be a snapshot for another reason; the message is that."""


class Finding(Value):
    """One thing to know before the notebook is scheduled, as a sentence."""

    code: FindingCode
    severity: Severity
    message: str
    hint: str = ""
    cell: int | None = None
    """Index of the cell in the notebook, from 0."""
    paths: tuple[str, ...] = ()
    """Files that it is about: relative to the project's top, or whole when they are outside."""


class Inspection(Value):
    """What the dialog is filled in with, and what stands in the way."""

    path: str
    """As it was asked for."""
    notebook: str | None = None
    """Its path in its project, by which runs know it; None where it has no project."""
    name: Name
    """A name for the job: the notebook's, made to fit."""
    team: Name
    """The person's own team, in which the job is when nothing else is said."""
    owner: Name
    language: str
    has_parameters_cell: bool
    parameters: tuple[Parameter, ...] = ()
    findings: tuple[Finding, ...] = ()
