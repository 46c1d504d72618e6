"""REST of environments: `environments/…`, answered here since the notebooks' files are here.

Every answer is made in a thread, so that kernels' messages never wait for a disk. Builds go on in
processes of their own; what one tells is read by one reader, however many pages follow it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, TypeVar

from jupyter_server.auth.decorator import authorized
from pydantic import Field
from tornado import web

from element_jupyter.core.environments.building import BuildEvent
from element_jupyter.core.environments.definitions import Origin
from element_jupyter.core.environments.identity import EnvironmentId
from element_jupyter.core.environments.keeping import (
    EnvironmentLock,
    EnvironmentSummary,
    Manifest,
    NotebookEnvironment,
    State,
)
from element_jupyter.core.errors import ElementError, Invalid, NotFound
from element_jupyter.core.values import Value
from element_jupyter.server.build_events import BuildFollowers
from element_jupyter.server.event_stream import EventStream
from element_jupyter.server.http import ElementHandler
from element_jupyter.server.notebook_files import NotebookPath, notebook_file, shown_path
from element_jupyter.server.operations import Operation, mounted

Answer = TypeVar("Answer")


# -------------------------------------------------------------------------------------- payloads


class BuildRequest(Value):
    """Of which notebook the environment is to be built."""

    path: NotebookPath
    upgrade: bool = False
    """Whether newer versions are taken; else those of its last lock are kept."""


class BuildStarted(Value):
    build_id: str
    """What to follow; of a build that was under way already, the same."""


class SharedEnvironment(Value):
    """An environment that the administrator offers to everybody by its name."""

    name: str
    title: str
    state: State
    environment_id: EnvironmentId | None


class EnvironmentList(Value):
    """What is in the store, and what is offered."""

    items: tuple[EnvironmentSummary, ...]
    shared: tuple[SharedEnvironment, ...]


class EnvironmentDetails(Manifest):
    """One environment: what it is made of, and what it takes on disk."""

    own_bytes: int
    """What removing it frees."""
    shared_bytes: int
    """What it shares with other environments and the cache."""


class RequirementsRequest(Value):
    """What to add to the file that names a notebook's packages."""

    path: NotebookPath
    requirements: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...],
        Field(min_length=1, max_length=100),
    ]
    """As in `requirements.txt`: `humanize>=4`."""


class RequirementsAdded(Value):
    file: str
    """The file that has changed, relative to the project's top."""
    added: tuple[str, ...]
    """As written there; what was there already is not among them."""
    cell: int | None = None
    """Of a definition in the notebook itself: the index of its cell, …"""
    source: str | None = None
    """… and what that cell is now, for whoever has the notebook open."""
    definition: NotebookEnvironment


class NewEnvironment(Value):
    """A definition that a person makes for the notebooks of a directory."""

    path: NotebookPath
    """The notebook, beside which it comes to lie."""
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$", max_length=63)]
    python: Annotated[str, Field(max_length=100)] = ""
    """A version, `3.12`, or specifiers, `>=3.11`; empty is any."""
    requirements: Annotated[
        tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=1000)
    ]
    """As in `requirements.txt`, a line each."""
    replace: bool = False
    """Whether one of that name is written anew."""
    dry_run: bool = False
    """Whether it is only checked."""


class EnvironmentMade(Value):
    """Where a new definition is."""

    pointer: str
    """What a notebook beside it points at: `envs/NAME`."""


class TrustRequest(Value):
    """Where packages may come from, says the person who asks."""

    path: NotebookPath
    origins: Annotated[tuple[Origin, ...], Field(min_length=1, max_length=100)]


class Environments(Protocol):
    """What this face needs to know and do; every method may read the disk for a while.

    They raise `EnvironmentFailed` for what is wrong with a definition, `Invalid` and `NotFound` for
    what is wrong with the request.
    """

    def of(self, notebook: Path) -> NotebookEnvironment: ...

    def build(self, notebook: Path, *, upgrade: bool) -> str: ...

    def events(self, build_id: str) -> Iterator[BuildEvent | None]: ...

    def cancel(self, build_id: str) -> None: ...

    def overview(self) -> EnvironmentList: ...

    def show(self, environment_id: str) -> EnvironmentDetails: ...

    def lock(self, environment_id: str) -> EnvironmentLock: ...

    def remove(self, environment_id: str) -> None: ...

    def add(self, notebook: Path, requirements: tuple[str, ...]) -> RequirementsAdded: ...

    def create(self, notebook: Path, wanted: NewEnvironment) -> str: ...

    def trust(self, notebook: Path, origins: tuple[Origin, ...]) -> NotebookEnvironment: ...


KernelOf = Callable[[Any, Path], Awaitable[str | None]]
"""Tells the environment of the kernel that a kernel manager runs for a notebook, if it has one."""


# -------------------------------------------------------------------------------------- handlers


class EnvironmentsHandler(ElementHandler):
    """The base of all; `environments` is None where they are switched off."""

    def initialize(
        self, environments: Environments | None, followers: BuildFollowers, kernel_of: KernelOf
    ) -> None:
        self._given = environments
        self._followers = followers
        self._kernel_of = kernel_of

    @property
    def environments(self) -> Environments:
        if self._given is None:
            raise NotFound(
                "Environments are switched off here.",
                "The administrator can set Element.environments = True.",
            )
        return self._given

    async def notebook(self, path: str) -> Path:
        return await notebook_file(self.contents_manager, path)

    async def with_kernel(self, found: NotebookEnvironment, notebook: Path) -> NotebookEnvironment:
        kernel = await self._kernel_of(self.kernel_manager, notebook)
        shown = {
            "kernel_environment_id": kernel,
            "definition_file": shown_path(self.contents_manager, found.definition_file),
        }
        return found.model_copy(update=shown)

    def answer(self, value: Value, status: int = 200) -> None:
        self.set_status(status)
        self.finish(value.model_dump_json())


class OfHandler(EnvironmentsHandler):
    """`GET environments/of?path=…`: everything about the environment of a notebook."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        # a page that looks from time to time is no sign of a person at work
        self._track_activity = False
        notebook = await self.notebook(self.get_query_argument("path", ""))
        found = await asyncio.to_thread(self.environments.of, notebook)
        self.answer(await self.with_kernel(found, notebook))


class BuildsHandler(EnvironmentsHandler):
    """`POST environments/builds`: start building, unless somebody does already."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        asked = self.asked(BuildRequest, 'For example {"path": "a.ipynb"}.')
        notebook = await self.notebook(asked.path)
        build_id = await asyncio.to_thread(self.environments.build, notebook, upgrade=asked.upgrade)
        self.answer(BuildStarted(build_id=build_id), 202)


class BuildHandler(EnvironmentsHandler):
    """`DELETE environments/builds/{build_id}`: end a build."""

    @web.authenticated
    @authorized
    async def delete(self, build_id: str) -> None:
        await asyncio.to_thread(self.environments.cancel, build_id)
        self.set_status(204)
        self.finish()


class BuildEventsHandler(EventStream, EnvironmentsHandler):
    """`GET environments/builds/{build_id}/events`: what a build tells, as server-sent events."""

    @web.authenticated
    @authorized
    async def get(self, build_id: str) -> None:
        self._track_activity = False
        followed = self._followers.follow(self.environments.events, build_id, self._after())
        await self.stream(_told(followed))

    def _after(self) -> int:
        said = self.request.headers.get("Last-Event-ID") or self.get_query_argument("after", "0")
        if not said.isdecimal() or len(said) > 9:
            raise Invalid(f"'{said[:80]}' is no event's id.", field="after")
        return int(said)


@asynccontextmanager
async def _told(
    followed: AbstractAsyncContextManager[AsyncIterator[BuildEvent]],
) -> AsyncIterator[AsyncIterator[bytes]]:
    async with followed as events:
        yield _written(events)


async def _written(events: AsyncIterator[BuildEvent]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield f"id: {event.sequence}\ndata: {event.model_dump_json()}\n\n".encode()
        yield b"event: end\ndata: {}\n\n"
    except ElementError as error:
        yield f"event: problem\ndata: {error.problem.model_dump_json()}\n\n".encode()


class ListHandler(EnvironmentsHandler):
    """`GET` and `POST environments`: what is in the store, and by name; make a definition."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.answer(await asyncio.to_thread(self.environments.overview))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        example = 'For example {"path": "a.ipynb", "name": "maps", "requirements": ["folium"]}.'
        asked = self.asked(NewEnvironment, example)
        notebook = await self.notebook(asked.path)
        pointer = await asyncio.to_thread(self.environments.create, notebook, asked)
        self.answer(EnvironmentMade(pointer=pointer), 201)


class ShowHandler(EnvironmentsHandler):
    """`GET` and `DELETE environments/{environment_id}`: what one is made of; take it away."""

    @web.authenticated
    @authorized
    async def get(self, environment_id: str) -> None:
        self.answer(await asyncio.to_thread(self.environments.show, environment_id))

    @web.authenticated
    @authorized
    async def delete(self, environment_id: str) -> None:
        await asyncio.to_thread(self.environments.remove, environment_id)
        self.set_status(204)
        self.finish()


class LockHandler(EnvironmentsHandler):
    """`GET environments/{environment_id}/lock`: what it was made from."""

    @web.authenticated
    @authorized
    async def get(self, environment_id: str) -> None:
        self.answer(await asyncio.to_thread(self.environments.lock, environment_id))


class RequirementsHandler(EnvironmentsHandler):
    """`POST environments/requirements`: add to the file that names a notebook's packages."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        example = 'For example {"path": "a.ipynb", "requirements": ["humanize"]}.'
        asked = self.asked(RequirementsRequest, example)
        notebook = await self.notebook(asked.path)
        added = await asyncio.to_thread(self.environments.add, notebook, asked.requirements)
        found = await self.with_kernel(added.definition, notebook)
        self.answer(added.model_copy(update={"definition": found}))


class TrustHandler(EnvironmentsHandler):
    """`POST environments/trust`: record that a person trusts where packages come from."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        example = 'For example {"path": "a.ipynb", "origins": [{"kind": "index", "location": …}]}.'
        asked = self.asked(TrustRequest, example)
        notebook = await self.notebook(asked.path)
        found = await asyncio.to_thread(self.environments.trust, notebook, asked.origins)
        self.answer(await self.with_kernel(found, notebook))


# --------------------------------------------------------------------------------------- routes


OPERATIONS: Final = (
    Operation("listEnvironments", "get", "/environments", ListHandler, EnvironmentList),
    Operation(
        "createEnvironment",
        "post",
        "/environments",
        ListHandler,
        EnvironmentMade,
        201,
        NewEnvironment,
    ),
    Operation(
        "environmentOf",
        "get",
        "/environments/of",
        OfHandler,
        NotebookEnvironment,
        query=(("path", NotebookPath),),
    ),
    Operation(
        "startBuild", "post", "/environments/builds", BuildsHandler, BuildStarted, 202, BuildRequest
    ),
    Operation("cancelBuild", "delete", "/environments/builds/{build_id}", BuildHandler, None, 204),
    Operation(
        "followBuild",
        "get",
        "/environments/builds/{build_id}/events",
        BuildEventsHandler,
        BuildEvent,
        query=(("after", int | None),),
        streams=True,
    ),
    Operation(
        "addRequirements",
        "post",
        "/environments/requirements",
        RequirementsHandler,
        RequirementsAdded,
        body=RequirementsRequest,
    ),
    Operation(
        "trustOrigins",
        "post",
        "/environments/trust",
        TrustHandler,
        NotebookEnvironment,
        body=TrustRequest,
    ),
    Operation(
        "showEnvironment",
        "get",
        "/environments/{environment_id}",
        ShowHandler,
        EnvironmentDetails,
    ),
    Operation(
        "removeEnvironment", "delete", "/environments/{environment_id}", ShowHandler, None, 204
    ),
    Operation(
        "environmentLock",
        "get",
        "/environments/{environment_id}/lock",
        LockHandler,
        EnvironmentLock,
    ),
)
"""All that is answered here; of two that fit a path, the first counts."""


def handlers(
    environments: Environments | None, kernel_of: KernelOf
) -> list[tuple[str, type[ElementHandler], dict[str, Any]]]:
    """Return what a Jupyter server mounts, below its base URL."""
    shared = {
        "environments": environments,
        "followers": BuildFollowers(),
        "kernel_of": kernel_of,
    }
    return mounted(OPERATIONS, shared)
