"""What is kept in the store: who uses it, which jobs are pinned to it, and what may go."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from element_jupyter import config
from element_jupyter.adapters.environment_store import Kept
from element_jupyter.core.environments.identity import lock_id
from element_jupyter.core.environments.keeping import EnvironmentSummary, Manifest, Pin
from element_jupyter.core.errors import Conflict, Invalid, NotFound
from element_jupyter.platform.data import write_private
from element_jupyter.platform.environments.lookup import Lookup

_ID: Final = re.compile(rb"\b(?:py|cf)-[0-9a-f]{32}\b")
_JOB_BYTES: Final = 1_000_000


def note_data_directory(settings: config.Element) -> None:
    """Let the store know a data directory whose jobs may be pinned to its environments."""
    text = os.fspath(settings.data)
    path = settings.store / "data" / hashlib.sha256(os.fsencode(text)).hexdigest()[:32]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, text)


def pinned(settings: config.Element) -> Mapping[str, tuple[str, ...]]:
    """Return the jobs that are pinned to each environment, of all data directories of the store.

    A job counts for every environment that its file names, even when the file cannot be read as a
    job right now.
    """
    jobs: dict[str, set[str]] = defaultdict(set)
    for directory in {settings.data, *_data_directories(settings.store)}:
        for path in (directory / "jobs").glob("[!.]*/[!.]*/job.yaml"):
            try:
                with path.open("rb") as file:
                    content = file.read(_JOB_BYTES)
            except OSError:
                continue
            for found in _ID.findall(content):
                jobs[found.decode()].add(f"{path.parent.parent.name}/{path.parent.name}")
    return {environment_id: tuple(sorted(names)) for environment_id, names in jobs.items()}


def _data_directories(store: Path) -> list[Path]:
    try:
        return [Path(each.read_text()) for each in (store / "data").iterdir() if each.is_file()]
    except OSError:
        return []


def summaries(
    settings: config.Element, lookup: Lookup, names: Mapping[str, str]
) -> list[EnvironmentSummary]:
    """Return what the store has, last used first; `names` are of shared ones, with their ids."""
    jobs = pinned(settings)
    called: dict[str, list[str]] = defaultdict(list)
    for name, environment_id in names.items():
        called[environment_id].append(name)
    found = [_summary(kept, called, jobs) for kept in lookup.store.list()]
    return sorted(found, key=lambda each: each.last_used_at or each.built_at, reverse=True)


def _summary(
    kept: Kept, called: Mapping[str, list[str]], jobs: Mapping[str, tuple[str, ...]]
) -> EnvironmentSummary:
    manifest = kept.manifest
    return EnvironmentSummary(
        environment_id=manifest.environment_id,
        names=tuple(called.get(manifest.environment_id, ())),
        definition=manifest.definition,
        python=manifest.python,
        packages=len(manifest.packages),
        own_bytes=kept.own_bytes,
        shared_bytes=kept.shared_bytes,
        built_at=manifest.built_at,
        last_used_at=kept.last_used_at,
        holders=tuple(kept.holders),
        jobs=jobs.get(manifest.environment_id, ()),
    )


def prune(
    settings: config.Element,
    lookup: Lookup,
    shared: Iterable[str],
    unused_for: timedelta,
    *,
    dry_run: bool,
) -> list[EnvironmentSummary]:
    """Remove what nothing uses: no kernel, no run, no job, no shared name, and not of late."""
    keep = {*pinned(settings), *shared}
    removed = lookup.store.prune(keep, unused_for, dry_run=dry_run)
    if not dry_run:
        lookup.store.sweep()
    return [_summary(each, {}, {}) for each in removed]


def remove(
    settings: config.Element, lookup: Lookup, names: Mapping[str, str], environment_id: str
) -> None:
    """Remove one environment that nothing uses; it is built again when something does.

    `names` are the shared names and the environments that they stand for.

    Raises:
        NotFound: there is none of this id.
        Conflict: a kernel, a run, a job or a shared name uses it; says which.
    """
    environments = summaries(settings, lookup, names)
    found = next((each for each in environments if each.environment_id == environment_id), None)
    if found is None:
        raise NotFound(
            f"There is no environment '{environment_id[:80]}'.",
            "Look the list up again: somebody may have removed it.",
        )
    users = [
        *(f"the job {job}" for job in found.jobs),
        *(f"the {each.kind} of {each.what or each.id}" for each in found.holders),
        *(f"the shared name {name}" for name in found.names),
    ]
    if users or not lookup.store.remove(environment_id):
        raise Conflict(
            f"The environment of {found.definition} is used by {', '.join(users) or 'a kernel'}.",
            "Shut the kernel down, delete the job, or wait for the run to end; then try again.",
        )


def compile_bytecode(lookup: Lookup, first: str | None = None) -> None:
    """Give `first`, and whatever a process that was ended has left without, its byte-code.

    Raises:
        EnvironmentFailed: the disk is full.
    """
    done = lookup.store.layout.root / "compiled"
    done.mkdir(exist_ok=True, mode=0o700)
    there = {path.name for path in lookup.store.layout.envs.iterdir()}
    waiting = sorted(there - {path.name for path in done.iterdir()})
    for environment_id in dict.fromkeys([*([first] if first else []), *waiting]):
        with contextlib.suppress(NotFound, Invalid):  # it was removed meanwhile, or is none of ours
            lookup.store.compile(environment_id)
            (done / environment_id).touch(mode=0o600)


def quarantine(lookup: Lookup, environment_id: str) -> tuple[Pin, bytes]:
    """Take an environment away; return what it can be built from again.

    Raises:
        NotFound: there is no such environment, or its lock is lost.
    """
    store = lookup.store
    ours = store.layout.environment(environment_id) / ".element"
    manifest = content = None
    # what cannot be read is as good as lost, and the damaged thing has to go all the same
    with contextlib.suppress(OSError, ValidationError):
        manifest = Manifest.model_validate_json((ours / "manifest.json").read_bytes())
        content = store.lock_content(manifest.lock_id) or (ours / "lock").read_bytes()
    store.quarantine(environment_id)
    if manifest is None or content is None or lock_id(content) != manifest.lock_id:
        raise NotFound(
            f"The environment {environment_id} was removed, and its lock is lost.",
            "Start a kernel of a notebook that had it, or build it: `element env build`.",
        )
    pin = Pin(
        environment_id=environment_id,
        lock_id=manifest.lock_id,
        definition=manifest.definition,
        python=manifest.python,
    )
    return pin, content
