"""`element env`: which environment a notebook has, and why; locking, building and keeping them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from element_jupyter.cli import env_store
from element_jupyter.cli.env_build import BuildView, followed, in_whole
from element_jupyter.cli.env_find import (
    HERE,
    PlaceArgument,
    PointerOption,
    UpgradeOption,
    VariantOption,
    connect,
    find,
    pointed,
)
from element_jupyter.cli.env_show import described
from element_jupyter.cli.output import DataOption, JsonOption, Output, table
from element_jupyter.core.errors import Invalid, NotFound

app = typer.Typer(no_args_is_help=True)
app.command(name="list")(env_store.list_environments)
app.command()(env_store.verify)
app.command()(env_store.prune)


@app.command()
def show(
    place: PlaceArgument = HERE,
    *,
    pointer: PointerOption = None,
    variant: VariantOption = None,
    packages: Annotated[bool, typer.Option("--packages", help="List every package in it.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which definition a notebook has and why, and what has become of it."""
    output = Output(as_json=as_json)
    made = connect(data)
    with in_whole(output):
        found = find(made, place, pointer, variant)
    state = made.state_of(found)
    built = made.get(state.environment_id) if state.environment_id else None
    artefacts = built.manifest.packages if built and packages else ()
    value = {
        **state.model_dump(mode="json"),
        "directory": str(built.directory) if built else None,
        "lies_in": str(found.root) if found.root else None,
    }
    if packages:
        value["artefacts"] = [each.model_dump(mode="json") for each in artefacts]
    output.result(value, *described(state, found, built.directory if built else None))
    if artefacts and not as_json:
        rows = [(each.name, each.version) for each in artefacts]
        output.result(None, "", table(("Package", "Version"), rows))


@app.command()
def lock(
    place: PlaceArgument = HERE,
    *,
    pointer: PointerOption = None,
    variant: VariantOption = None,
    upgrade: UpgradeOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when the lock is not current.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; show what would change.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lock a definition: write the lock beside it, to keep in git with it."""
    output = Output(as_json=as_json)
    made = connect(data)
    notebook, wanted = pointed(place, pointer)
    with in_whole(output), BuildView(output) as view:
        locked = made.lock_file(
            notebook,
            view.tell,
            pointer=wanted,
            variant=variant,
            upgrade=upgrade,
            write=not (check or dry_run),
        )
    lines: list[str | Text] = [
        Text.assemble((each.name, "bold"), f"  {each.before or '-'} → {each.after or '-'}")
        for each in locked.changes
    ]
    changed = "is written" if locked.written else "would change"
    said = "is current" if locked.is_current else changed
    output.result(locked, *lines, f"{locked.path} {said}.")
    if check and not locked.is_current:
        raise typer.Exit(1)


@app.command()
def build(
    place: PlaceArgument = HERE,
    *,
    pointer: PointerOption = None,
    variant: VariantOption = None,
    upgrade: UpgradeOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lock and build the environment of a notebook; Ctrl-C cancels."""
    output = Output(as_json=as_json)
    made = connect(data)
    with in_whole(output):
        found = find(made, place, pointer, variant)
        built = None if upgrade else made.ready(found)
        if built is None:
            built = followed(made, made.start_build(found, upgrade=upgrade), output)
    manifest = built.manifest
    output.result(
        {**manifest.model_dump(mode="json"), "directory": str(built.directory)},
        f"{found.definition.title}: Python {manifest.python}, {len(manifest.packages)} packages",
        f"{manifest.environment_id}  {built.directory}",
    )


@app.command()
def add(
    requirements: Annotated[
        list[str], typer.Argument(metavar="REQUIREMENT…", help="As in requirements.txt.")
    ],
    notebook: Annotated[
        Path, typer.Option("--notebook", help="Of which notebook; default: of this directory.")
    ] = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add packages to the definition of a notebook; they come with the next build."""
    output = Output(as_json=as_json)
    if not notebook.exists():
        raise NotFound(f"There is no notebook or directory '{notebook}'.", field="notebook")
    with in_whole(output):
        edit = connect(data).add(notebook, requirements)
    names = ", ".join(edit.added)
    said = f"Added to {edit.path}: {names}." if edit.added else "All of it is there already."
    output.result({"path": edit.path, "added": list(edit.added)}, said)


@app.command()
def trust(
    place: PlaceArgument = HERE,
    *,
    pointer: PointerOption = None,
    variant: VariantOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trust where the definition of a project takes packages from: they run with your rights."""
    output = Output(as_json=as_json)
    made = connect(data)
    with in_whole(output):
        found = find(made, place, pointer, variant)
    if found.root is None:
        raise Invalid("A shared environment is trusted by the administrator.", field="notebook")
    state = made.state_of(found)
    asked = state.failure.origins if state.failure else ()
    origins = tuple(dict.fromkeys((*found.definition.origins, *asked)))
    if not origins:
        output.result({"origins": []}, "There is nothing to trust: it uses the usual indexes.")
        return
    lines = [
        f"  {each.kind}: {each.location}" + (f"  ({each.named_in})" if each.named_in else "")
        for each in origins
    ]
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise Invalid("Trusting is for a person to say.", "Say so with --yes.", field="yes")
        output.note(f"{found.definition.title} in {found.root} takes packages from:")
        for line in lines:
            output.note(line)
        if not typer.confirm("Their code runs with your rights. Trust them in this project?"):
            raise typer.Abort
    made.trust(found.root, origins, made.owner)
    output.result({"origins": list(origins), "project": str(found.root)}, "Trusted:", *lines)
