"""What the environment of a definition is right now."""

from __future__ import annotations

from typing import Any

from element_jupyter import config
from element_jupyter.core.environments.building import EnvironmentFailed, Failure
from element_jupyter.core.environments.definitions import Found, Origin
from element_jupyter.core.environments.keeping import NotebookEnvironment, State
from element_jupyter.platform.environments.builds import Build
from element_jupyter.platform.environments.lookup import Lookup
from element_jupyter.platform.environments.rules import Trust


def state_of(settings: config.Element, lookup: Lookup, found: Found) -> NotebookEnvironment:
    """Say what the environment of a definition is; file reads only."""

    def said(state: State, **more: Any) -> NotebookEnvironment:
        return NotebookEnvironment(
            state=state,
            definition=found.definition,
            definition_file=str(found.root / found.definition.path) if found.root else None,
            ignored=found.ignored,
            notices=found.notices,
            **more,
        )

    try:
        target = lookup.target(found.definition)
    except EnvironmentFailed as error:
        build_id = lookup.key(found.definition)
        return said(State.FAILED, failure=error.failure, build_id=build_id)
    about: dict[str, Any] = {
        "build_id": target.key,
        "python": target.interpreter.version if target.interpreter else None,
    }
    if indexed := lookup.store.indexed(target.key):
        about |= {"environment_id": indexed.environment_id, "lock_id": indexed.lock_id}
    if kept := lookup.ready(target, found):
        about |= {"python": kept[0].python, "packages": len(kept[0].packages)}
        return said(State.READY, **about)
    build = Build.of(settings.store, target.key)
    if build.is_running:
        return said(State.BUILDING, **about)
    failure = build.failure
    if failure is None or _is_mended(failure, settings, found):
        return said(State.MISSING, **about)
    return said(State.FAILED, **about, failure=failure)


def _is_mended(failure: Failure, settings: config.Element, found: Found) -> bool:
    """Tell whether what a build has failed for is trusted since."""
    wanted = {Origin(kind=each.kind, location=each.location) for each in failure.origins}
    return bool(wanted) and wanted <= Trust(settings.store).origins(found.root)
