"""Which of the files beside a notebook counts.

First what somebody points at: the caller, else the notebook's `metadata.element.environment`, else
`[tool.element] environment` in the closest `pyproject.toml` that has it. Then a PEP 723 block in a
code cell. Then the closest directory upwards, to the top of the tree, with a file that is usable:

    ==================================  ==================================  ====================
    file                                usable when                         its lock
    ==================================  ==================================  ====================
    pixi.toml, [tool.pixi]              pixi.lock is beside it              pixi.lock
    pyproject.toml                      [project] dependencies, or          uv.lock
                                        [dependency-groups], or [tool.uv]
    environment.yml, environment.yaml   always                              environment.pixi.lock
    requirements.txt, requirements.in   always                              pylock.toml, or itself,
                                                                            with == and hashes
    pylock.toml                         always                              itself
    ==================================  ==================================  ====================

`binder/` or `.binder/` of the top come last; both are an error. A file that cannot be read is an
error, and never a reason to go on to the next. What was found and does not count is told with its
reason. Python is asked for by the definition, by the closest `.python-version` above it, and by a
`runtime.txt` beside it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from element_jupyter.adapters.definitions.conda_files import read_conda_file
from element_jupyter.adapters.definitions.failures import shown, unreadable, unsupported
from element_jupyter.adapters.definitions.inline import document_of, find_block, read_block
from element_jupyter.adapters.definitions.left_out import NEVER_EXECUTED, REASONS, notice_of
from element_jupyter.adapters.definitions.meaning import finish
from element_jupyter.adapters.definitions.pixi import LOCK, read_pixi
from element_jupyter.adapters.definitions.pylock import is_pylock, read_pylock
from element_jupyter.adapters.definitions.pyproject import Project, read_pyproject
from element_jupyter.adapters.definitions.python_version import read_version_file
from element_jupyter.adapters.definitions.reading import Draft, Reader, decode
from element_jupyter.adapters.definitions.requirements_files import read_requirements_file
from element_jupyter.adapters.definitions.toml_text import read_toml
from element_jupyter.core.environments.building import EnvironmentFailed
from element_jupyter.core.environments.definitions import (
    DEFINITION_FILES,
    Files,
    Found,
    Ignored,
    Kind,
    Pointer,
    parse_pointer,
    pointer_in,
)
from element_jupyter.core.errors import Invalid

_LOCKS = ("uv.lock", "pixi.lock", "pylock.toml")
_BINDERS = ("binder", ".binder")
_VARIANT = r"(?P<variant>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)"


@dataclass(frozen=True)
class Missing:
    """Nothing usable was found; what was found besides, and what to say about it."""

    ignored: tuple[Ignored, ...] = ()
    notices: tuple[str, ...] = ()


class PointsAtNothing(Invalid):
    """A pointer's path is not there; it may be the name of a shared environment."""

    def __init__(self, pointer: Pointer, who: str) -> None:
        super().__init__(
            f"{who} '{shown(pointer.target)}', and there is no such file, directory or shared "
            "environment.",
            "Give a file or directory of the project, or the name of a shared environment.",
            field="environment",
        )
        self.pointer = pointer


def find(
    files: Files,
    notebook: str,
    *,
    document: Mapping[str, Any] | None = None,
    pointer: Pointer | None = None,
    pointer_from: str = "",
    variant: str | None = None,
    own_lock: bool = True,
) -> Found | Missing:
    """Find the definition of a notebook, or of a directory, in a tree.

    `document` is the notebook's JSON; without it the notebook is read when it is a file of the
    tree. `pointer_from` is the directory that `pointer` is relative to. `variant` wins over the
    pointer's. Without `own_lock` it is as if no lock were beside a definition: `meaning` is then
    what a lock written now must carry.

    Raises:
        EnvironmentFailed: what was found cannot be used; names file and line.
        PointsAtNothing: a pointer's path is not there.
        Invalid: a path leads out of the tree, or the notebook's pointer is malformed.
    """
    search = _Search(files, own_lock=own_lock)
    notebook = _path(notebook, "notebook")
    try:
        return search.run(notebook, document, pointer, pointer_from, variant)
    except RecursionError:
        raise unreadable(
            "A definition is nested too deep.", "Write it flat.", file=notebook or "."
        ) from None


def shared(files: Files, name: str, *, variant: str | None = None, own_lock: bool = True) -> Found:
    """Return the shared definition in the directory `name` of a tree.

    Raises:
        EnvironmentFailed: what is there cannot be used.
        Invalid: there is no such directory.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name) or not files.names(name):
        raise Invalid(f"There is no shared environment '{shown(name)}'.", field="environment")
    search = _Search(files, own_lock=own_lock)
    draft = search.in_directory(name, variant)
    if draft is None:
        raise unreadable(
            f"The shared environment '{name}' has no definition that is usable.",
            *(f"{each.path}: {each.reason}." for each in search.ignored),
            file=name,
        )
    return search.found(draft, [name], "The administrator offers it.", name=name)


class _Search:
    def __init__(self, files: Files, *, own_lock: bool) -> None:
        self._reader = Reader(files)
        self._own_lock = own_lock
        self._projects: dict[str, Project] = {}
        self.ignored: list[Ignored] = []
        self._goes_first = ""
        """Why others do not count when the winner was not searched for."""

    def run(
        self,
        notebook: str,
        document: Mapping[str, Any] | None,
        pointer: Pointer | None,
        pointer_from: str,
        variant: str | None,
    ) -> Found | Missing:
        is_directory = not notebook or (document is None and bool(self._reader.names(notebook)))
        start = notebook if is_directory else posixpath.dirname(notebook)
        chain = [start]
        while chain[-1]:
            chain.append(posixpath.dirname(chain[-1]))
        notices: list[str] = []
        if document is None and not is_directory and notebook.endswith(".ipynb"):
            document = self._document(notebook, notices)

        pointed = self._pointer(chain, document, pointer, pointer_from)
        if pointed is not None:
            target, base, who = pointed
            draft = self._at_pointer(target, base, who, variant or target.variant)
            self._goes_first = f"{who} {draft.path}"
            return self.found(draft, chain, f"{who} it.", notices=notices)
        block = find_block(document, notebook) if document else None
        if block is not None:
            draft = Draft(self._reader, Kind.INLINE, notebook, variant)
            read_block(draft, block)
            _refuse_variant(draft)
            self._goes_first = "the definition in the notebook goes first"
            why = f"Its {block.place} has a block '# /// script', which goes before every file."
            return self.found(draft, chain, why, notices=notices)
        for directory in chain:
            nearest = self.in_directory(directory, variant)
            if nearest is not None:
                where = directory or "the project's top"
                why = "It is beside the notebook." if directory == start else ""
                why = why or f"It is the closest one upwards from the notebook, in {where}."
                return self.found(nearest, chain, why, notices=notices)
        binder = self._binder()
        if binder is not None and (nearest := self.in_directory(binder, variant)) is not None:
            why = f"It is in {binder}/, and neither the notebook's directory nor one above has one."
            return self.found(nearest, [*chain, binder], why, notices=notices)
        self._sweep([*chain, *filter(None, [binder])], None, notices)
        return Missing(tuple(self.ignored), tuple(notices))

    # --------------------------------------------------------------------------------- pointers

    def _document(self, notebook: str, notices: list[str]) -> Mapping[str, Any] | None:
        if not self._reader.has(notebook):
            return None
        try:
            content = self._reader.raw(notebook)
        except EnvironmentFailed as error:
            notices.append(f"What the notebook says of its environment was not read: {error}")
            return None
        return document_of(content) if content is not None else None

    def _pointer(
        self,
        chain: list[str],
        document: Mapping[str, Any] | None,
        pointer: Pointer | None,
        pointer_from: str,
    ) -> tuple[Pointer, str, str] | None:
        if pointer is not None:
            return pointer, _path(pointer_from, "environment"), "The request names"
        if document and (said := pointer_in(document)) is not None:
            return said, chain[0], "The notebook points at"
        for directory in chain:
            path = posixpath.join(directory, "pyproject.toml")
            if not self._reader.has(path):
                continue
            content = self._reader.raw(path)
            # a pyproject.toml further up that points at nothing need not even be well written
            if not content or b"environment" not in content or b"element" not in content:
                continue
            if (target := self._project(path, content).points_at) is not None:
                return parse_pointer(target), directory, f"{path} points at"
        return None

    def _at_pointer(self, pointer: Pointer, base: str, who: str, variant: str | None) -> Draft:
        target = pointer.target
        path = posixpath.normpath(posixpath.join(base, target))
        path = "" if path == "." else path
        if posixpath.isabs(target) or path.startswith("..") or not _is_text(path):
            raise Invalid(
                f"{who} '{shown(target)}', which is outside of the project, so no run could have "
                "it.",
                "Point at a file or directory of the project.",
                field="environment",
            )
        if path and self._reader.has(path) and self._reader.raw(path) is not None:
            draft = self._draft(path, variant)
            if isinstance(draft, str):
                raise unreadable(f"{who} {path}, but {draft}.", "Point at another file.", file=path)
            return draft
        if path and not self._reader.names(path):
            raise PointsAtNothing(pointer, who)
        found = self.in_directory(path, variant)
        if found is None:
            reasons = [f"{each.path}: {each.reason}." for each in self.ignored]
            raise unreadable(
                f"{who} the directory '{path or '.'}', and no definition in it is usable.",
                *(reasons or ["Put a requirements.txt there, or point at another directory."]),
                file=path or ".",
            )
        return found

    # ------------------------------------------------------------------------------ directories

    def in_directory(self, directory: str, variant: str | None) -> Draft | None:
        """Return the definition of one directory; why others are unusable goes to `ignored`."""
        names = self._reader.names(directory)
        for name in DEFINITION_FILES:
            if name not in names:
                continue
            path = posixpath.join(directory, name)
            draft = self._draft(path, variant)
            if isinstance(draft, Draft):
                return draft
            self.ignored.append(Ignored(path=path, reason=draft))
        return None

    def _binder(self) -> str | None:
        there = [each for each in _BINDERS if self._reader.names(each)]
        if len(there) > 1:
            raise unreadable(
                "There is binder/ and .binder/, and nobody can say which counts.",
                "Keep one of them.",
                file="binder",
            )
        return there[0] if there else None

    def _draft(self, path: str, variant: str | None) -> Draft | str:
        """Read one file as what its name says; return why it is unusable when it is no mistake."""
        name = posixpath.basename(path)
        content = self._reader.raw(path)
        if content is None:
            return "it is no file"
        if name in {"pixi.toml", "pyproject.toml"}:
            return self._manifest(path, content, variant)
        draft = Draft(self._reader, Kind.REQUIREMENTS, path, variant)
        if is_pylock(name):
            draft.kind = Kind.PYLOCK
            read_pylock(draft, path)
            _refuse_variant(draft)
            return draft
        if name.endswith((".yml", ".yaml")):
            draft.kind = Kind.CONDA
            self._choose_file(draft)
            read_conda_file(draft, draft.path)
        elif name.endswith((".txt", ".in")):
            self._choose_file(draft)
            read_requirements_file(draft, draft.path)
        else:
            raise unsupported(
                f"{path} is no definition that Element reads.",
                f"Point at one of {', '.join(DEFINITION_FILES)}.",
                file=path,
            )
        return draft

    def _manifest(self, path: str, content: bytes, variant: str | None) -> Draft | str:
        text = decode(content, path)
        lock = posixpath.join(posixpath.dirname(path), LOCK)
        no_lock = f"there is no {LOCK} beside it, which `pixi lock` writes"
        if posixpath.basename(path) == "pixi.toml":
            if not self._reader.has(lock):
                return no_lock
            draft = Draft(self._reader, Kind.PIXI, path, variant)
            read_pixi(draft, path, read_toml(text, path), content, text)
            return draft
        project = self._project(path, content)
        if pixi := project.table("tool", "pixi"):
            if self._reader.has(lock):
                draft = Draft(self._reader, Kind.PIXI, path, variant)
                read_pixi(draft, path, pixi, content, text)
                return draft
            if project.unusable is None:
                self.ignored.append(Ignored(path=f"{path} [tool.pixi]", reason=no_lock))
            else:
                return no_lock
        if project.unusable is not None:
            return project.unusable
        draft = Draft(self._reader, Kind.PYPROJECT, path, variant)
        read_pyproject(draft, path, project, content, text)
        return draft

    def _project(self, path: str, content: bytes) -> Project:
        if path not in self._projects:
            self._projects[path] = Project(path, decode(content, path))
        return self._projects[path]

    def _choose_file(self, draft: Draft) -> None:
        """Take the variant's own file: `requirements-gpu.txt` beside `requirements.txt`."""
        stem, extension = posixpath.splitext(draft.path)
        start = f"{posixpath.basename(stem)}-"
        pattern = re.compile(f"{re.escape(start)}{_VARIANT}{re.escape(extension)}")
        names = self._reader.names(draft.directory)
        matches = [pattern.fullmatch(each) for each in names if each.startswith(start)]
        draft.variants = tuple(sorted(match["variant"] for match in matches if match))
        if draft.variant in draft.variants:
            draft.path = f"{stem}-{draft.variant}{extension}"
        else:
            _refuse_variant(draft)

    # ---------------------------------------------------------------------------------- results

    def found(
        self,
        draft: Draft,
        chain: list[str],
        why: str,
        *,
        name: str | None = None,
        notices: Iterable[str] = (),
    ) -> Found:
        self._read_python(draft)
        definition = finish(draft, why=why, name=name, own_lock=self._own_lock)
        self.ignored += draft.ignored
        said = [*notices, *draft.notices]
        self._sweep(chain, draft, said)
        return Found(
            definition=definition,
            contents=dict(sorted(draft.contents.items())),
            ignored=tuple(self.ignored),
            notices=tuple(said),
        )

    def _read_python(self, draft: Draft) -> None:
        fixed = ""
        if draft.kind is Kind.PIXI or (
            draft.kind is Kind.CONDA and any(each.name == "python" for each in draft.requirements)
        ):
            fixed = f"Python is among the packages of {draft.path}"
        elif draft.kind is Kind.INLINE:
            fixed = f"{draft.path} says by itself what it needs"
        above = [draft.directory]
        while above[-1]:
            above.append(posixpath.dirname(above[-1]))
        paths = [posixpath.join(each, ".python-version") for each in above]
        closest = next(filter(self._reader.has, paths), None)
        runtime = posixpath.join(draft.directory, "runtime.txt")
        for path in filter(None, (closest, runtime if self._reader.has(runtime) else None)):
            if fixed:
                draft.ignore(path, fixed)
            else:
                read_version_file(draft, path)

    def _sweep(self, chain: list[str], draft: Draft | None, notices: list[str]) -> None:
        """Tell of everything else that was found on the way."""
        told = {each.path for each in self.ignored} | set(draft.files if draft else ())
        never: list[str] = []
        passed = False
        for directory in chain:
            names = self._reader.names(directory)
            here = draft is not None and directory == draft.directory
            for name in (*DEFINITION_FILES, *_LOCKS[:2]):
                path = posixpath.join(directory, name)
                if name in names and path not in told:
                    self.ignored.append(Ignored(path=path, reason=self._reason(draft, path)))
                    told.add(path)
            if not passed:
                for name in (each for each in REASONS if each in names):
                    path = posixpath.join(directory, name)
                    if self._reader.names(path):
                        continue  # a directory of that name means something else
                    self.ignored.append(Ignored(path=path, reason=REASONS[name]))
                    never += [path] if name in NEVER_EXECUTED else []
            passed = passed or here
        if draft is None:
            self._sweep_python(chain)
        if never:
            notices.append(notice_of(sorted(never)))

    def _sweep_python(self, chain: list[str]) -> None:
        for directory in chain:
            for name in (".python-version", "runtime.txt"):
                path = posixpath.join(directory, name)
                if self._reader.has(path):
                    reason = "it names Python only, and no definition names packages"
                    self.ignored.append(Ignored(path=path, reason=reason))

    def _reason(self, draft: Draft | None, path: str) -> str:
        directory, name = posixpath.split(path)
        if draft is None:
            return "no definition is beside it" if name in _LOCKS else "it is no file"
        if name in _LOCKS and directory == draft.directory:
            return f"it is no lock of {draft.path}"
        if self._goes_first:
            return self._goes_first
        if directory == draft.directory:
            return f"{draft.path} goes first in the same directory"
        return f"{draft.path} is closer to the notebook"


def _refuse_variant(draft: Draft) -> None:
    if draft.variant is None:
        return
    offered = ", ".join(draft.variants)
    raise unreadable(
        f"{draft.path} has no variant '{shown(draft.variant)}'.",
        f"It has {offered}." if offered else "Ask for none.",
        file=draft.path,
        spec=draft.variant,
    )


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path


def _path(path: str, field: str) -> str:
    normal = posixpath.normpath(path) if path else ""
    normal = "" if normal == "." else normal
    if normal.startswith(("/", "..")) or not _is_text(normal):
        raise Invalid(
            f"'{shown(path)}' is not the path of a file in the project.",
            "Give a path below the project's top.",
            field=field,
        )
    return normal
