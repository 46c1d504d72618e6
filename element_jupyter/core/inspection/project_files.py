"""What a notebook needs and the snapshot of its project does not have, as findings.

Only what is there on disk is spoken of: a file that is nowhere may be one that the run makes.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

from element_jupyter.core.inspection.findings import Finding, FindingCode, Severity
from element_jupyter.core.inspection.named_files import NamedFile, NotebookNames, imports_in
from element_jupyter.core.parameters import parse_python
from element_jupyter.core.snapshots import IGNORE_FILE, size_in_words

MOST_SHOWN: Final = 20
"""Paths in one finding."""

MOST_MODULES: Final = 100
"""Modules of the project that are looked into for what they import."""

PASSING: Final = (
    *("/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"),
    *("/tmp", "/var/tmp"),  # noqa: S108 - what is there is not used, only passed over
)
"""What every machine has of its own: nobody takes it for a part of the project."""

_WILD: Final = re.compile(r"[*?\[]")


class Disk(Protocol):
    """Looks at whole paths; what cannot be looked at is not there."""

    def is_file(self, path: str) -> bool: ...

    def is_directory(self, path: str) -> bool: ...

    def names(self, directory: str) -> Sequence[str]:
        """Return some of what is in a directory, in order: not more than a person would keep."""

    def size_bytes(self, path: str) -> int: ...

    def real(self, path: str) -> str:
        """Return the path with every link in it followed."""

    def text(self, path: str) -> str:
        """Return what a module says; nothing when it is no plain file of a usual size."""


@dataclass(frozen=True)
class Project:
    """A project as its snapshot would have it, and what is around it on disk."""

    root: str
    directory: str
    """Where the notebook is: relative to the root, `` at the top."""
    home: str
    sizes: Mapping[str, int]
    """The files of the snapshot, with their bytes."""
    links: frozenset[str]
    is_broad: bool
    """Whether it is no project but the home directory, of which little is taken."""
    most_bytes: int
    """Of a snapshot."""
    disk: Disk
    passing: tuple[str, ...] = PASSING

    def place(self, path: str) -> str:
        """Return the whole path of what the notebook calls so."""
        if path == "~" or path.startswith("~/"):
            path = self.home + path[1:]
        return posixpath.normpath(posixpath.join(self.root, self.directory, path))

    def inside(self, place: str) -> str | None:
        """Return a whole path as seen from the top; None when it is outside."""
        for each in (place, self.disk.real(place)):
            if each == self.root:
                return "."
            if each.startswith(self.root.rstrip("/") + "/"):
                return each[len(self.root.rstrip("/")) + 1 :]
        return None

    def has(self, path: str) -> bool:
        """Tell whether the snapshot has a file or directory, given from the top."""
        if path == "." or path in self.sizes or path in self._directories or path in self.links:
            return True
        if self.links.isdisjoint(_with_parents(path)):
            return False
        real = self.inside(self.disk.real(posixpath.join(self.root, path)))
        return real is not None and (real in self.sizes or real in self._directories)

    def way_in(self, paths: Sequence[str]) -> str:
        """Return how the snapshot comes to have files that it leaves out, as a hint."""
        if self.is_broad:
            return "Move the notebook into a directory of its own, with what it needs."
        if sum(self.disk.size_bytes(posixpath.join(self.root, path)) for path in paths) > (
            self.most_bytes
        ):
            most = size_in_words(self.most_bytes)
            return f"A snapshot has at most {most}: read it from storage that runs see, too."
        lines = [line for path in paths for line in self._lines_for(path)]
        return (
            f"Write {' and '.join(dict.fromkeys(lines))} into {IGNORE_FILE} at the project's top "
            f"to take {'it' if len(paths) == 1 else 'them'} along."
        )

    def _lines_for(self, path: str) -> list[str]:
        # git goes into no directory that is ignored, whatever is said of a file in it
        missing = [each for each in _with_parents(path)[:-1] if each not in self._directories]
        return [*(f"!/{each}/" for each in missing), f"!/{path}"]

    @cached_property
    def _directories(self) -> frozenset[str]:
        return frozenset(
            above for path in (*self.sizes, *self.links) for above in _with_parents(path)[:-1]
        )


def missing_files(named: Iterable[NamedFile], project: Project) -> list[Finding]:
    """Return what the notebook names as a text: left out of the snapshot, or outside."""
    passing = tuple(f"{each}/" for each in project.passing)
    left_out: list[_Named] = []
    beyond: list[_Named] = []
    far: list[_Named] = []
    whole: list[_Named] = []
    for file in named:
        is_whole = file.path.startswith(("/", "~"))
        for place in _places(file, project):
            path = project.inside(place)
            if path is None:
                if not is_whole:
                    beyond.append((file.path, file.cell))
                elif place != "/" and not f"{place}/".startswith(passing):
                    far.append((place, file.cell))
            elif is_whole:
                whole.append((path, file.cell))
            elif not project.has(path):
                left_out.append((path, file.cell))
    return [
        *_left_out(left_out, "the notebook names", project),
        *_outside(
            beyond,
            ("is outside of the project", "are outside of the project"),
            "A run has only what is in the project. Move it there, or name it by its whole path on "
            "storage that runs see, too.",
        ),
        *_outside(
            far,
            (
                "is outside of the project: a run sees it only where its machine has it, too",
                "are outside of the project: a run sees them only where its machine has them, too",
            ),
            "Fine on storage that all machines share; else move it into the project.",
        ),
        *_outside(
            whole,
            (
                "is named by its whole path: a run sees it only where its machine has it, too",
                "are named by whole paths: a run sees them only where its machine has them, too",
            ),
            "Name it from where the notebook is: then it is taken from the snapshot.",
        ),
    ]


def module_directories(names: NotebookNames, project: Project) -> list[str]:
    """Return where in the project a kernel looks for modules: see `in_kernel/start.py`."""
    tops = [project.root, posixpath.join(project.root, "src")]
    search = [project.place("."), *tops, *map(project.place, names.module_directories)]
    return [each for each in dict.fromkeys(search) if project.inside(each) is not None]


def missing_modules(names: NotebookNames, project: Project) -> list[Finding]:
    """Return which modules of the project the notebook imports, and those that these import."""
    search = module_directories(names, project)
    todo: list[tuple[str, int]] = []
    for wanted in names.imports:
        todo += ((place, wanted.cell) for place in _modules(wanted.module, search, project))
    seen: set[str] = set()
    missing: list[_Named] = []
    while todo and len(seen) < MOST_MODULES:
        place, cell = todo.pop(0)
        if place in seen:
            continue
        seen.add(place)
        path = project.inside(place)
        if path is None:
            continue
        if not project.has(path):
            missing.append((path, cell))
            continue
        tree = parse_python(project.disk.text(place), 1)[1]
        for module, level in imports_in(tree):
            above = [posixpath.join(place, *[".."] * level)] if level else search
            todo += ((each, cell) for each in _modules(module, above, project, relative=level > 0))
    return _left_out(missing, "the notebook imports", project)


def listed(paths: Sequence[str]) -> str:
    """Return some names for a sentence: `'a', 'b' and 3 more`."""
    shown = [f"'{path}'" for path in paths[:3]]
    if len(paths) > len(shown):
        return f"{', '.join(shown)} and {len(paths) - len(shown)} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


_Named = tuple[str, int]
"""A path, and the cell that names it."""


def _with_parents(path: str) -> list[str]:
    """Return a path after each directory that it is in, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _places(file: NamedFile, project: Project) -> Iterator[str]:
    """Yield what is there on disk of what a path names: itself, or what its wildcards match."""
    place = project.place(file.path)
    directory, name = posixpath.split(place)
    if project.disk.is_file(place):
        yield place
    elif file.is_read and project.disk.is_directory(place):
        if project.inside(place) is None or project.disk.names(place):
            yield place
    elif _WILD.search(name) and not _WILD.search(directory):
        for each in fnmatch.filter(project.disk.names(directory), name):
            if project.disk.is_file(posixpath.join(directory, each)):
                yield posixpath.join(directory, each)


def _modules(
    module: str, search: Sequence[str], project: Project, *, relative: bool = False
) -> list[str]:
    """Return the files that importing a module reads, where the project has it."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return []
    if not relative and parts[0] in sys.stdlib_module_names:
        return []
    for directory in search:
        found = []
        for count in range(1, len(parts) + 1):
            base = posixpath.normpath(posixpath.join(directory, *parts[:count]))
            tried = (f"{base}/__init__.py", f"{base}.py")
            found += [place for place in tried if project.disk.is_file(place)][:1]
        if found:
            return found
    return []


def _left_out(found: Sequence[_Named], needs: str, project: Project) -> list[Finding]:
    paths = [*dict.fromkeys(path for path, _ in found)]
    if not paths:
        return []
    return [
        Finding(
            code=FindingCode.LEFT_OUT,
            severity=Severity.WARNING,
            message=f"{listed(paths)}, which {needs}, "
            f"{'is' if len(paths) == 1 else 'are'} left out of the snapshot.",
            hint=project.way_in(paths[:3]),
            cell=min(cell for _, cell in found),
            paths=tuple(paths[:MOST_SHOWN]),
        )
    ]


def _outside(found: Sequence[_Named], said: tuple[str, str], hint: str) -> list[Finding]:
    paths = [*dict.fromkeys(path for path, _ in found)]
    if not paths:
        return []
    return [
        Finding(
            code=FindingCode.OUTSIDE,
            severity=Severity.WARNING,
            message=f"{listed(paths)} {said[len(paths) > 1]}.",
            hint=hint,
            cell=min(cell for _, cell in found),
            paths=tuple(paths[:MOST_SHOWN]),
        )
    ]
