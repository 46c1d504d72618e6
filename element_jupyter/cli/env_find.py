"""How the commands of `element env` are told which environment is meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from element_jupyter import config
from element_jupyter.core.environments.definitions import Found, Pointer, parse_pointer
from element_jupyter.core.errors import Conflict, NotFound
from element_jupyter.platform.environments.composition import Environments, environments

PlaceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="[NOTEBOOK|DIR]", help="Notebook or directory; default: here.", show_default=False
    ),
]
PointerOption = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="POINTER",
        help="Definition instead of the notebook's: a file, a directory, or a shared name.",
        show_default=False,
    ),
]
VariantOption = Annotated[
    str | None, typer.Option("--variant", help="Variant, e.g. gpu.", show_default=False)
]
UpgradeOption = Annotated[
    bool, typer.Option("--upgrade", help="Take newer versions than the last lock.")
]
HERE = Path()


def connect(data: Path | None) -> Environments:
    """Return the environments of this installation; no platform needs to run.

    Raises:
        Conflict: they are switched off.
    """
    made = environments(config.load(data_dir=str(data) if data else None))
    if made is None:
        raise Conflict(
            "Environments are switched off here.", "Set Element.environments = True to have them."
        )
    return made


def pointed(place: Path, pointer: str | None) -> tuple[Path, Pointer | None]:
    """Return the notebook or directory that is meant, and what is pointed at from there.

    A pointer that is typed is relative to where we are. A definition file may be named itself.

    Raises:
        Invalid: the pointer is none.
        NotFound: there is no such notebook or directory.
    """
    if not place.exists():
        raise NotFound(f"There is no notebook or directory '{place}'.", field="notebook")
    if pointer is None and place.is_file() and place.suffix not in {".ipynb", ".py"}:
        return place.parent, Pointer(target=place.name)
    if pointer is None:
        return place, None
    wanted = parse_pointer(pointer)
    if Path(wanted.target).exists():
        beside = place if place.is_dir() else place.parent
        target = os.path.relpath(Path(wanted.target).resolve(), beside.resolve())
        wanted = wanted.model_copy(update={"target": Path(target).as_posix()})
    return place, wanted


def find(made: Environments, place: Path, pointer: str | None, variant: str | None) -> Found:
    """Find the definition that is meant.

    Raises:
        EnvironmentFailed, Invalid: as `Environments.find`.
        NotFound: there is no such notebook or directory.
    """
    notebook, wanted = pointed(place, pointer)
    return made.find(notebook, pointer=wanted, variant=variant)
