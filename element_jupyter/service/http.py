"""Routes: REST as a table of plain async functions, and what they may take and answer.

    ROUTES = (
        Route("GET", "/jobs/{team}/{name}", get_job, access=allow(Action.READ, team="team")),
    )

    async def get_job(services: Services, who: Person, team: Name, name: Name) -> StoredJob: ...

The first parameter of a function is what the composition root built. Of the others, `who` is the
caller, `body` the request's body (a pydantic type, or an `Upload` that was streamed to a file),
those named in the path come from there, those annotated with `Header` from a header, and the rest
from the query. All are validated against their annotations, which also make the OpenAPI document.

A function returns a value (JSON), an `Answer` around one, an `EventStream`, a `FileAnswer`, a
`BlobAnswer`, a `TextAnswer`, a `Download`, or None; it raises errors of `core.errors`. The table
knows nothing of a web framework: `app.py` mounts it on Tornado.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import (
    Annotated,
    Any,
    BinaryIO,
    Generic,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model

from element_jupyter.core.access import Action, Subject, Who, may
from element_jupyter.core.errors import Invalid, Unauthenticated
from element_jupyter.core.validation import explain

JSON_BYTES = 10_000_000
"""Limit of a JSON body, unless the route says otherwise."""

T = TypeVar("T")

Verb = Literal["GET", "POST", "PUT", "DELETE"]


# ---------------------------------------------------------------------------------------- access


@dataclass(frozen=True)
class Access:
    """Who may call a route: `action` is None for everybody, signed in or not.

    `team` and `run` name the path parameters that hold the subject. Where the subject's team is
    known only after it has been read (a run's), the function asks `may` again.
    """

    action: Action | None
    team: str | None = None
    run: str | None = None

    def check(self, who: Who | None, path: Mapping[str, str]) -> None:
        """Return when `who` may call.

        Raises:
            Unauthenticated: nobody has signed in.
            Forbidden: it is not granted.
        """
        if self.action is None:
            return
        if who is None:
            raise Unauthenticated(
                "This needs a valid token.",
                "Send 'Authorization: Bearer <token>'; the token is in the file 'token' of the"
                " data directory.",
            )
        team = path[self.team] if self.team else None
        run_id = path[self.run] if self.run else None
        may(who, self.action, Subject(team=team, run_id=run_id))


PUBLIC = Access(action=None)


def allow(action: Action, *, team: str | None = None, run: str | None = None) -> Access:
    """Grant a route to whom `core.access.may` grants the action on the subject in its path."""
    return Access(action, team=team, run=run)


# --------------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A JSON value with what HTTP says about it; `etag` without quotes."""

    body: T
    status: int | None = None
    etag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EventStream(Generic[T]):
    """Server-sent events: pairs of an id, from which a reader resumes, and an event.

    An event may be given as its JSON already. When the iterator ends by itself, a last event named
    `end` tells the reader not to come back; a cut connection has none. The iterator is closed when
    the reader goes away.
    """

    events: AsyncIterator[tuple[int | str, T | str | bytes]]


@dataclass(frozen=True)
class FileAnswer:
    """A file that lies inside `root`, streamed; `path` may come from a stranger."""

    root: Path
    path: str
    media_type: str | None = None
    """None: by the name's ending."""
    attachment: bool = True
    """Whether a browser saves it rather than shows it."""


@dataclass(frozen=True)
class BlobAnswer:
    """Bytes of a file that has been opened for this answer, which closes it."""

    file: BinaryIO
    size_bytes: int


@dataclass(frozen=True)
class TextAnswer:
    """A text that is not JSON."""

    text: str | bytes
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Download:
    """A file that is made while it is sent; an error on the way cuts the connection."""

    name: str
    chunks: AsyncIterator[bytes]
    media_type: str


@dataclass(frozen=True)
class Upload:
    """A body that was streamed to a temporary file, removed when the function returns."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Header:
    """Marks a parameter that comes from a header: `Annotated[str | None, Header("If-Match")]`."""

    name: str


IfMatch = Annotated[
    str | None,
    Header("If-Match"),
    Field(description="Only when the version is still this one: its ETag, in quotes."),
]
LastEventId = Annotated[
    str | None,
    Header("Last-Event-ID"),
    Field(description="The id of the last event that was received; goes on after it."),
]
Accept = Annotated[str, Header("Accept"), Field(description="The wanted media type.")]


# ----------------------------------------------------------------------------------------- routes


@dataclass(frozen=True)
class Route:
    """One verb of one path, answered by `function`; `access` must be said, so the default is no.

    `path` is below `/api/v1`, unless `at_root`; `{name}` is one segment, `{name:path}` the rest.
    """

    method: Verb
    path: str
    function: Callable[..., Awaitable[Any]]
    access: Access = field(kw_only=True)
    status: int = field(default=200, kw_only=True)
    body_limit_bytes: int | Callable[[Any], int] = field(default=JSON_BYTES, kw_only=True)
    """A function is told what the route's function is given first: the limit is configured."""
    at_root: bool = field(default=False, kw_only=True)
    audited: str | None = field(default=None, kw_only=True)
    """The word under which the audit has each use by a person; None: only an administrator's."""

    def __post_init__(self) -> None:
        if not inspect.iscoroutinefunction(self.function):
            raise TypeError(f"{self.function!r} is not an async function")
        if not isinstance(self.access, Access):
            raise TypeError(f"{self.method} {self.path} does not say who may call it")
        if unknown := set(self.path_names) - set(self.annotations):
            raise TypeError(f"{self.function!r} does not take {', '.join(sorted(unknown))}")
        for name in (self.access.team, self.access.run):
            if name is not None and name not in self.path_names:
                raise TypeError(f"{self.path} has no '{name}' to decide access by")

    @cached_property
    def path_names(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{(\w+)(?::path)?\}", self.path))

    @cached_property
    def annotations(self) -> dict[str, Any]:
        """The annotations of what the function takes, without its first parameter."""
        hints = get_type_hints(self.function, include_extras=True)
        _, *names = inspect.signature(self.function).parameters
        return {name: hints[name] for name in names}

    @cached_property
    def answer(self) -> Any:
        """What the function is annotated to return."""
        return get_type_hints(self.function, include_extras=True)["return"]

    @cached_property
    def headers(self) -> dict[str, str]:
        """The names of the headers that parameters come from."""
        marks = {
            name: next((mark for mark in get_args(kind)[1:] if isinstance(mark, Header)), None)
            for name, kind in self.annotations.items()
            if get_origin(kind) is Annotated
        }
        return {name: mark.name for name, mark in marks.items() if mark is not None}

    @cached_property
    def parameter_kinds(self) -> dict[str, Any]:
        """The annotations of all that is in path, query and headers."""
        return {
            name: kind for name, kind in self.annotations.items() if name not in {"who", "body"}
        }

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The values of what may be left out."""
        parameters = inspect.signature(self.function).parameters
        return {
            name: parameters[name].default
            for name in self.annotations
            if parameters[name].default is not inspect.Parameter.empty
        }

    @cached_property
    def parameters(self) -> TypeAdapter[Any]:
        """The adapter of a model of all that is in path, query and headers."""
        fields: dict[str, Any] = {
            name: (kind, self.defaults[name]) if name in self.defaults else kind
            for name, kind in self.parameter_kinds.items()
        }
        model = create_model(
            "Parameters", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields
        )
        return TypeAdapter(model)

    @cached_property
    def parameters_schema(self) -> dict[str, Any]:
        return self.parameters.json_schema()

    @cached_property
    def takes_upload(self) -> bool:
        return self.annotations.get("body") is Upload

    @cached_property
    def body(self) -> TypeAdapter[Any] | None:
        """The adapter of a JSON body; None without one, and for an upload."""
        kind = self.annotations.get("body")
        return None if kind is None or kind is Upload else TypeAdapter(kind)

    @cached_property
    def body_schema(self) -> dict[str, Any]:
        return self.body.json_schema() if self.body else {}

    def bind_parameters(
        self,
        path: Mapping[str, str],
        query: Mapping[str, Sequence[str]],
        headers: Mapping[str, str],
    ) -> dict[str, Any]:
        """Validate path, query and headers into keyword arguments.

        Raises:
            Invalid: the first that is wrong, missing or unknown.
        """
        given: dict[str, Any] = dict(path)
        properties = self.parameters_schema.get("properties", {})
        for name, values in query.items():
            if name in self.path_names or name in self.headers:
                raise Invalid(f"There is no query parameter '{name[:80]}' here.", field=name[:80])
            if properties.get(name, {}).get("type") == "array":
                given[name] = list(values)
            elif len(values) == 1:
                given[name] = values[0]
            else:
                raise Invalid(f"{name[:80]}: it is given {len(values)} times.", field=name[:80])
        for name, header in self.headers.items():
            if header in headers:
                given[name] = headers[header]
        try:
            bound = self.parameters.validate_python(given)
        except ValidationError as error:
            raise explain(error, given, self.parameters_schema) from None
        return {name: getattr(bound, name) for name in type(bound).model_fields}

    def bind_body(self, content: bytes) -> Any:
        """Validate a JSON body; None where the route takes none.

        Raises:
            Invalid: it is not JSON, too deep, not UTF-8, or not what the route takes.
        """
        if self.body is None:
            return None
        try:
            return self.body.validate_json(content)
        except ValidationError as error:
            raise explain(error, _parsed(content), self.body_schema) from None
        except RecursionError:
            raise Invalid("The body is nested too deeply.") from None


_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def _parsed(content: bytes) -> Any:
    try:
        return _ANYTHING.validate_json(content)
    except (ValidationError, RecursionError):
        return None


def path_pattern(path: str) -> str:
    """Return the regular expression of a route's path, with a group for each of its names."""
    parts = re.split(r"\{(\w+)(:path)?\}", path)
    pattern = re.escape(parts[0])
    for name, rest, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if rest else '[^/]+'})" + re.escape(literal)
    return pattern + "$"
