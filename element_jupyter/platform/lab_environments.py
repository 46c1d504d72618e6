"""Environments as the Jupyter server's REST interface tells of them: by notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from element_jupyter.adapters.definitions import creating
from element_jupyter.core.environments.building import BuildEvent, EnvironmentFailed
from element_jupyter.core.environments.definitions import Found, Origin
from element_jupyter.core.environments.keeping import EnvironmentLock, NotebookEnvironment, State
from element_jupyter.core.errors import ElementError, Invalid, NotFound
from element_jupyter.platform.environments.composition import Environments
from element_jupyter.platform.environments.kernel_start import failure_of
from element_jupyter.server.environments import (
    EnvironmentDetails,
    EnvironmentList,
    NewEnvironment,
    RequirementsAdded,
    SharedEnvironment,
)


class NotebookEnvironments:
    """What `server.environments` asks for, made of `Environments`."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments

    def of(self, notebook: Path) -> NotebookEnvironment:
        try:
            return self._environments.state_of(self._environments.find(notebook))
        except ElementError as error:
            # what is wrong with a definition is what there is to tell of it
            return NotebookEnvironment(
                state=State.FAILED, definition=None, failure=failure_of(error)
            )

    def build(self, notebook: Path, *, upgrade: bool) -> str:
        return self._environments.start_build(self._found(notebook), upgrade=upgrade)

    def events(self, build_id: str) -> Iterator[BuildEvent | None]:
        return self._environments.events(build_id)

    def cancel(self, build_id: str) -> None:
        self._environments.cancel(build_id)

    def overview(self) -> EnvironmentList:
        return EnvironmentList(
            items=tuple(self._environments.summaries()),
            shared=tuple(self._shared(name, found) for name, found in self._all_shared()),
        )

    def show(self, environment_id: str) -> EnvironmentDetails:
        made = self._environments.get(environment_id)
        for each in self._environments.summaries() if made else ():
            if made is not None and each.environment_id == environment_id:
                return EnvironmentDetails(
                    **made.manifest.model_dump(),
                    own_bytes=each.own_bytes,
                    shared_bytes=each.shared_bytes,
                )
        raise _unknown(environment_id)

    def lock(self, environment_id: str) -> EnvironmentLock:
        made = self._environments.get(environment_id)
        content = self._environments.lock_content(made.manifest.lock_id) if made else None
        if made is None or content is None:
            raise _unknown(environment_id)
        return EnvironmentLock(lock_id=made.manifest.lock_id, text=content.decode())

    def remove(self, environment_id: str) -> None:
        self._environments.remove(environment_id)

    def add(self, notebook: Path, requirements: tuple[str, ...]) -> RequirementsAdded:
        edit = self._environments.add(notebook, requirements)
        return RequirementsAdded(
            file=edit.path,
            added=edit.added,
            cell=edit.cell,
            source=edit.source,
            definition=self.of(notebook),
        )

    def create(self, notebook: Path, wanted: NewEnvironment) -> str:
        python = wanted.python.strip()
        lines = tuple(each.strip() for each in wanted.requirements)
        pointer = creating.checked(
            notebook.parent, wanted.name, python, lines, replace=wanted.replace
        )
        if not wanted.dry_run:
            creating.create(notebook.parent / pointer, python, lines)
        return pointer

    def trust(self, notebook: Path, origins: tuple[Origin, ...]) -> NotebookEnvironment:
        found = self._found(notebook)
        if found.root is None:
            raise Invalid(
                f"{found.definition.title} is the administrator's, who allows its origins.",
                "Ask for Element.allowed_origins.",
                field="path",
            )
        plain = [Origin(kind=each.kind, location=each.location) for each in origins]
        self._environments.trust(found.root, plain, self._environments.owner)
        return self.of(notebook)

    def _found(self, notebook: Path) -> Found:
        return self._environments.find(notebook)

    def _all_shared(self) -> list[tuple[str, Found]]:
        try:
            return list(self._environments.shared().items())
        except EnvironmentFailed:
            return []

    def _shared(self, name: str, found: Found) -> SharedEnvironment:
        state = self._environments.state_of(found)
        return SharedEnvironment(
            name=name,
            title=found.definition.title,
            state=state.state,
            environment_id=state.environment_id,
        )


def _unknown(environment_id: str) -> NotFound:
    return NotFound(
        f"There is no environment '{environment_id[:80]}'.",
        "GET environments lists those that there are.",
    )
