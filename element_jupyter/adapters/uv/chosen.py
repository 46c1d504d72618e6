"""What of a lock is installed for an interpreter."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from packaging.pylock import Package, PackageArchive, PackageWheel

from element_jupyter.adapters.uv import lockfile
from element_jupyter.adapters.uv.building import Built, of_lock
from element_jupyter.adapters.uv.interpreters import target_of
from element_jupyter.adapters.uv.lockfile import Source
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import Origin, OriginKind
from element_jupyter.core.environments.identity import Artefact, Interpreter


@dataclass(frozen=True)
class Chosen:
    """The packages of a lock that are for an interpreter, and how they come to be artefacts."""

    said: Mapping[str, Any]
    selected: tuple[tuple[Package, Source], ...]
    built: Built
    artefacts: tuple[Artefact, ...]


@functools.lru_cache(maxsize=4)
def chosen_of(content: bytes, python: Interpreter) -> Chosen:
    """Read what of a lock is for an interpreter; a build asks three times.

    Raises:
        EnvironmentFailed: the lock is malformed, or has nothing for this interpreter.
    """
    document = lockfile.read(content)
    selected = tuple(lockfile.select(document, target_of(python)))
    built = of_lock(document)
    artefacts = tuple(_artefact(package, source, built) for package, source in selected)
    return Chosen(lockfile.ours(document), selected, built, artefacts)


def is_built(source: Source) -> bool:
    """Tell whether there is source only, of which a wheel has to be built."""
    if isinstance(source, PackageArchive):
        return not urlsplit(source.url or source.path or "").path.endswith(".whl")
    return not isinstance(source, PackageWheel)


def _artefact(package: Package, source: Source, built: Built) -> Artefact:
    """Return what of a package is installed: of one that was built, the wheel in the lock.

    Raises:
        EnvironmentFailed: the lock has no wheel of it, or no hash.
    """
    artefact = lockfile.artefact(package, source)
    if not is_built(source):
        return artefact
    wheel = built.get(package.name)
    if wheel is None or wheel["source"] != artefact.sha256:
        raise EnvironmentFailed(
            Failure(
                code=FailureCode.NO_WHEEL,
                title="A package has no wheel",
                summary=f"{package.name} exists as source only, and the lock does not carry what"
                " was built from it.",
                hints=("Lock the definition again.",),
                origins=(Origin(kind=OriginKind.SDIST, location=package.name),),
            )
        )
    return artefact.model_copy(update={"filename": wheel["name"], "sha256": wheel["sha256"]})
