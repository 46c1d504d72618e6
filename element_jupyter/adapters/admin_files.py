"""The YAML files that an administrator edits, read again when they change."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Generic, TypeVar

import yaml
from pydantic import ValidationError

from element_jupyter.core.errors import Invalid
from element_jupyter.core.validation import explain
from element_jupyter.core.values import Value

log = logging.getLogger(__name__)

V = TypeVar("V", bound=Value)
_Stamp = tuple[int, int, int]


class AdminFile(Generic[V]):
    """One file and the value that it says.

    A file that was changed to something wrong leaves what it said before in force, and is
    complained about in the log once; `problem` has the sentence.
    """

    def __init__(self, path: Path, kind: type[V]) -> None:
        self.path = path
        self.problem: str | None = None
        self._kind = kind
        self._stamp: _Stamp | None = None
        self._value: V | None = None

    @property
    def value(self) -> V:
        """What the file says now; costs one `stat` when it has not changed.

        Raises:
            Invalid: it has never been right; names the field.
        """
        try:
            stamp = _stamp(self.path)
        except OSError as error:
            return self._kept(Invalid(f"{self.path} cannot be read: {error.strerror}."), None)
        if stamp != self._stamp or self._value is None:
            try:
                value = self._read()
            except Invalid as error:
                return self._kept(error, stamp)
            self._value, self._stamp, self.problem = value, stamp, None
        return self._value

    def _read(self) -> V:
        try:
            said = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise Invalid(f"{self.path} is not readable as YAML: {error}") from error
        try:
            return self._kind.model_validate({} if said is None else said)
        except ValidationError as error:
            found = explain(error, said, self._kind.model_json_schema())
            raise Invalid(f"{self.path}: {found.message}", found.hint, field=found.field) from None

    def _kept(self, error: Invalid, stamp: _Stamp | None) -> V:
        if self._value is None:
            raise error
        if stamp != self._stamp or self.problem is None:
            log.error("%s What it said before stays in force.", error.message)
        self._stamp, self.problem = stamp, error.message
        return self._value


def _stamp(path: Path) -> _Stamp:
    status = os.stat(path)  # noqa: PTH116 - a tenth of the time of Path.stat
    return status.st_mtime_ns, status.st_size, status.st_ino
