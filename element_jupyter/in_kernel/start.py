"""Starts a kernel in an environment, as `python -m ipykernel_launcher` would, and a little more.

    <environment>/bin/python start.py --environment ID [--batch] [--settings] -f FILE [OPTION …]

It checks that this Python belongs to the environment `ID`, and exits with 1 and a sentence when it
does not; makes `from element_jupyter import record` work where the environment has no
`element_jupyter`; puts `ELEMENT_PROJECT` on the path; and replaces `%pip` and its like, which
cannot change an environment. What is not its own is ipykernel's.

`--batch` says that nobody sits in front of it; so does `ELEMENT_RUN_ID` in the variables.
`--settings` says that standard input has one JSON object, what `%pip` needs to know: `command`, the
start of an `element` command line; `variables`, those of that command; `notebook`, a path;
`definition`, what people call the file that names the packages; `kind`, `inline` when the notebook
does so itself; `adds_to` and `file`, the name and the path of the file that more are added to. They
come that way since they may hold credentials, which neither a command line nor the variables of a
kernel must show.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent
OFFERED = {
    "element_jupyter": PACKAGE / "__init__.py",
    "element_jupyter.recording": PACKAGE / "recording.py",
}


class Offer:
    """Finds the few modules that every kernel has; last of all finders, so that any other wins."""

    @staticmethod
    def find_spec(
        name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Be what `sys.meta_path` wants."""
        if name not in OFFERED:
            return None
        spec = importlib.util.spec_from_file_location(
            name,
            OFFERED[name],
            submodule_search_locations=[] if name == "element_jupyter" else None,
        )
        if spec is not None and spec.submodule_search_locations is not None:
            # or else all that lies beside it could be imported, and fail in this Python
            spec.submodule_search_locations.clear()
        return spec


def check(environment_id: str) -> None:
    """End the process unless this Python is of that environment."""
    manifest = Path(sys.prefix, ".element", "manifest.json")
    try:
        found = json.loads(manifest.read_bytes())["environment_id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(
            f"{sys.prefix} is no environment that was built whole ({error}). `element env verify`"
            " says more; building it again mends it."
        )
    if found != environment_id:
        sys.exit(
            f"The kernel was to be in the environment {environment_id}, and {sys.prefix} is"
            f" {found}. Nothing was run."
        )


def take(arguments: list[str], flag: str) -> bool:
    """Remove a flag from the arguments; return whether it was there."""
    there = flag in arguments
    if there:
        arguments.remove(flag)
    return there


def read_settings() -> dict[str, Any]:
    """Read what standard input has, and leave nothing of it to the notebook."""
    with os.fdopen(os.dup(0), "rb") as given:
        settings: dict[str, Any] = json.loads(given.read() or b"{}")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return settings


def find_project(project: str) -> None:
    """Let the project's modules be imported, here and in the processes that the notebook starts."""
    found = [str(each) for each in (Path(project), Path(project, "src")) if each.is_dir()]
    os.environ["PYTHONPATH"] = os.pathsep.join(found)
    # '' is the notebook's directory, which IPython puts behind the standard library
    after = sys.path.index("") + 1 if "" in sys.path else 0
    sys.path[after:after] = found


def load(name: str) -> ModuleType:
    """Load a module that lies beside this one."""
    loader = importlib.machinery.SourceFileLoader(f"_element_{name}", str(HERE / f"{name}.py"))
    module = sys.modules[loader.name] = ModuleType(loader.name)
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


def main() -> None:
    """Check, start, and be a kernel until it ends."""
    # its modules are not the notebook's
    if sys.path and sys.path[0] and Path(sys.path[0]).resolve() == HERE:
        del sys.path[0]
    arguments = sys.argv[1:]
    if arguments[:1] != ["--environment"] or len(arguments) < 2:
        sys.exit("Usage: start.py --environment ID [--batch] [--settings] -f FILE [OPTION …]")
    environment_id, ours = arguments[1], arguments[2:]
    variables = {**os.environ}
    batch = take(ours, "--batch") or "ELEMENT_RUN_ID" in variables
    settings = read_settings() if take(ours, "--settings") else {}
    check(environment_id)
    sys.argv[1:] = ours
    sys.meta_path.append(Offer)

    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(ours)  # type: ignore[no-untyped-call]
    # only now: a module of the project may have the name of one that ipykernel imports
    if variables.get("ELEMENT_PROJECT"):
        find_project(variables["ELEMENT_PROJECT"])
    if app.shell is not None:
        load("pip_magic").register(app.shell, settings, batch=batch)
    app.start()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
