"""What can go wrong, as sentences for a person.

    ElementError                 exit 1   HTTP 500
    ├── Invalid                  exit 2   HTTP 400   what was asked is malformed; names the field
    │   └── TooLarge             exit 2   HTTP 413
    ├── Unauthenticated          exit 2   HTTP 401
    ├── Forbidden                exit 2   HTTP 403
    ├── NotFound                 exit 2   HTTP 404
    ├── Conflict                 exit 2   HTTP 409
    ├── OverQuota                exit 1   HTTP 429   the hint says when it frees
    └── Unavailable              exit 3   HTTP 503   it does not answer; nothing is lost

A message is one sentence that names the thing; a hint is what to do about it. Adapters translate
at their edge (`raise Unavailable(...) from error`); nothing above them catches a library's errors.
"""

from __future__ import annotations

from typing import ClassVar

from element_jupyter.core.values import Value


class Problem(Value):
    """The body of every answer that is not a success."""

    code: str
    message: str
    hint: str = ""
    field: str | None = None
    details: str = ""
    """What a person may read on: a resolver's reasoning, in its own words, of several lines."""


class ElementError(Exception):
    """Base of everything that Element raises on purpose."""

    code: ClassVar[str] = "failed"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, hint: str = "", *, field: str | None = None, details: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.details = details

    @property
    def problem(self) -> Problem:
        return Problem(
            code=self.code,
            message=self.message,
            hint=self.hint,
            field=self.field,
            details=self.details,
        )

    @staticmethod
    def from_problem(problem: Problem) -> ElementError:
        """Rebuild the error that a remote face answered with, by its code."""
        # what others derive from these shares a code, and is made of other things
        kinds = {each.code: each for each in _kinds(ElementError) if each.__module__ == __name__}
        return kinds.get(problem.code, ElementError)(
            problem.message, problem.hint, field=problem.field, details=problem.details
        )


class Invalid(ElementError):
    """What was asked is malformed; `field` is the dotted path of the culprit."""

    code, status, exit_code = "invalid", 400, 2


class TooLarge(Invalid):
    """Over a size limit that the message names."""

    code, status = "too_large", 413


class Unauthenticated(ElementError):
    """No credential, or one that is not valid."""

    code, status, exit_code = "unauthenticated", 401, 2


class Forbidden(ElementError):
    """Known, but may not do this; the hint says who can grant it."""

    code, status, exit_code = "forbidden", 403, 2


class NotFound(ElementError):
    """There is no such thing, or the asker may not know of it."""

    code, status, exit_code = "not_found", 404, 2


class Conflict(ElementError):
    """It exists already, or has changed since it was read."""

    code, status, exit_code = "conflict", 409, 2


class OverQuota(ElementError):
    """A limit forbids it now; the hint says when it frees."""

    code, status, exit_code = "over_quota", 429, 1


class Unavailable(ElementError):
    """An outside system does not answer; the same call may work later."""

    code, status, exit_code = "unavailable", 503, 3


def _kinds(root: type[ElementError]) -> list[type[ElementError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _kinds(child))]
