"""`pyproject.toml`: a project's dependencies, groups, extras and variants, as uv reads them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from element_jupyter.adapters.definitions.failures import at, shown, unreadable, unsupported
from element_jupyter.adapters.definitions.reading import Draft
from element_jupyter.adapters.definitions.requirement import described, read_requirement
from element_jupyter.adapters.definitions.toml_text import Lines, read_toml
from element_jupyter.adapters.definitions.uv_settings import read_uv_settings

_OURS = ("environment", "extras", "groups", "variants")
_OURS_OF_VARIANT = ("extras", "groups")


class Project:
    """One `pyproject.toml`, whose values are checked as they are asked for."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = Lines(text, path)
        self.document: dict[str, Any] = read_toml(text, path)
        self.project = self.table("project")
        self.uv = self.table("tool", "uv")
        self.groups = self.table("dependency-groups")
        self.ours = self.table("tool", "element")
        self._grouped: dict[str, list[str]] = {}
        self._check_ours()

    def table(self, *keys: str) -> dict[str, Any]:
        found: Any = self.document
        for key in keys:
            found = found.get(key, {})
            if not isinstance(found, dict):
                raise self.wrong(f"'{'.'.join(keys)}' is no table", "Write [section] headers.", key)
        return dict(found)

    def texts(self, value: Any, name: str) -> list[str]:
        """Return a list of texts."""
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            hint = f'Write {name.rpartition(".")[2]} = ["first", "second"].'
            raise self.wrong(f"'{shown(name)}' is no list of texts", hint, name)
        return value

    def wrong(self, fault: str, hint: str, spec: str, line: int | None = None) -> Exception:
        last = re.escape(spec.rpartition(".")[2])
        line = line or self.lines.after(rf"""^[ \t]*+\[*(?:[^\n#=]*\.)?["']?{last}["']?\s*[=\]]""")
        where = at(self.path, line)
        return unreadable(f"{fault}, in {where}.", hint, file=self.path, line=line, spec=spec)

    @property
    def points_at(self) -> str | None:
        """What `[tool.element] environment` says."""
        said = self.ours.get("environment")
        if said is not None and not isinstance(said, str):
            hint = 'Write environment = "envs/gpu".'
            raise self.wrong("'tool.element.environment' is no text", hint, "environment")
        return said

    @property
    def unusable(self) -> str | None:
        """Why it defines no environment, None when it does."""
        dynamic = self.project.get("dynamic")
        if "dependencies" in self.project or (
            isinstance(dynamic, list) and "dependencies" in dynamic
        ):
            return None
        if self.groups or self.uv:
            return None
        if self.table("tool", "poetry").get("dependencies"):
            return "its dependencies are in Poetry's own table, and only [project] is read"
        return "it has no [project] dependencies, no [dependency-groups] and no [tool.uv]"

    def extras(self) -> dict[str, list[str]]:
        found = self.project.get("optional-dependencies", {})
        if not isinstance(found, dict):
            hint = 'Write [project.optional-dependencies] and below it name = ["package"].'
            raise self.wrong(
                "'project.optional-dependencies' is no table", hint, "optional-dependencies"
            )
        return {
            _normal(name): self.texts(value, f"project.optional-dependencies.{name}")
            for name, value in found.items()
        }

    def variants(self) -> dict[str, dict[str, list[str]]]:
        found = self.ours.get("variants", {})
        if not isinstance(found, dict) or not all(
            isinstance(each, dict) for each in found.values()
        ):
            hint = 'Write [tool.element.variants.gpu] and below it extras = ["cu128"].'
            raise self.wrong("'tool.element.variants' is no table of tables", hint, "variants")
        for name, variant in found.items():
            if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", name):
                raise self.wrong(f"'{shown(name)}' is no name of a variant", "Write gpu.", name)
            self._refuse_unknown(variant, _OURS_OF_VARIANT, f"tool.element.variants.{name}")
        return {
            name: {
                key: self.texts(value, f"tool.element.variants.{name}.{key}")
                for key, value in variant.items()
            }
            for name, variant in found.items()
        }

    def grouped(self, name: str, within: tuple[str, ...] = ()) -> list[str]:
        """Return what a dependency group asks for, that of groups in it too (PEP 735)."""
        normal = _normal(name)
        if normal in self._grouped:
            return self._grouped[normal]
        known = {_normal(each): (each, value) for each, value in self.groups.items()}
        if normal in within:
            raise self.wrong(f"The group '{shown(name)}' includes itself", "Remove that.", name)
        if normal not in known:
            raise self.missing("group", name, known)
        written, items = known[normal]
        if not isinstance(items, list):
            raise self.wrong(f"The group '{shown(written)}' is no list", "Write [...].", written)
        found: dict[str, None] = {}
        for item in items:
            if isinstance(item, str):
                found[item] = None
            elif isinstance(item, dict) and isinstance(item.get("include-group"), str):
                found |= dict.fromkeys(self.grouped(item["include-group"], (*within, normal)))
            else:
                raise self.wrong(
                    f"The group '{shown(written)}' has an item that is no requirement",
                    'Write "pandas>=2" or {include-group = "test"}.',
                    written,
                )
        self._grouped[normal] = list(found)
        return self._grouped[normal]

    def missing(self, what: str, name: str, known: Iterable[str]) -> Exception:
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        hint = f"Write {near[0]}." if near else f"There are: {', '.join(names) or 'none'}."
        return self.wrong(f"There is no {what} '{shown(name)}'", hint, name, self.lines.of(name))

    def _check_ours(self) -> None:
        self._refuse_unknown(self.ours, _OURS, "tool.element")

    def _refuse_unknown(self, table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
        for key in table:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"Write {near[0]}." if near else f"Known are {', '.join(known)}."
                raise self.wrong(f"'{shown(key)}' is not known in [{where}]", hint, key)


def read_pyproject(draft: Draft, path: str, project: Project, content: bytes, text: str) -> None:
    """Read a `pyproject.toml` into a draft, with the `uv.lock` beside it.

    Raises:
        EnvironmentFailed: it cannot be used; the file and line are named.
    """
    draft.take(path, content, text)
    draft.entry = path
    _refuse_dynamic(project)
    _check_project(project)
    extras, groups = project.extras(), _groups(project)
    _choose(draft, project, extras)
    dependencies = project.texts(project.project.get("dependencies", []), "project.dependencies")
    selected = [
        *dependencies,
        *(each for extra in draft.extras for each in extras[extra]),
        *(each for group in draft.groups for each in groups.get(group, [])),
    ]
    if not selected and "dependencies" not in project.project and groups and not draft.groups:
        raise project.wrong(
            f"No group is chosen of {', '.join(sorted(groups))}, and there are no [project] "
            "dependencies",
            'Write [tool.element] and below it groups = ["…"] with the groups that notebooks need.',
            "dependency-groups",
        )
    names: dict[str, str] = {}

    def normal(specs: Iterable[str]) -> list[str]:
        said = set()
        for spec in specs:
            parsed = read_requirement(draft, spec, path, project.lines.of(spec))
            names[parsed.name] = spec
            said.add(parsed.normal)
        return sorted(said)

    for spec in dict.fromkeys(selected):
        line = project.lines.of(spec)
        draft.require(described(read_requirement(draft, spec, path, line), spec, path, line))
    if not draft.requirements:
        draft.notice(f"{path} names no package, so the environment has only the kernel.")
    draft.says = {
        "name": _normal(str(project.project.get("name", ""))),
        "dependencies": normal(dependencies),
        "extras": {name: normal(specs) for name, specs in extras.items()},
        "groups": {name: normal(specs) for name, specs in groups.items()},
        "uv": read_uv_settings(draft, project.uv, names, project.lines),
        "chosen": [sorted(draft.extras), sorted(draft.groups)],
    }
    if (asked := project.project.get("requires-python")) is not None:
        if not isinstance(asked, str):
            raise project.wrong(
                "'requires-python' is no text", 'Write ">=3.11".', "requires-python"
            )
        draft.python.append((asked, path))
    lock = posixpath.join(posixpath.dirname(path), "uv.lock")
    if draft.reader.has(lock) and (locked := draft.reader.raw(lock)) is not None:
        draft.take(lock, locked)
        draft.lock_path = lock


def _choose(draft: Draft, project: Project, extras: Mapping[str, list[str]]) -> None:
    """Set the extras and groups that are installed: uv's default groups, and what is asked for."""
    variants = project.variants()
    draft.variants = tuple(sorted(variants))
    if draft.variant is not None and draft.variant not in variants:
        raise project.missing("variant", draft.variant, variants)
    chosen = variants[draft.variant] if draft.variant is not None else {}
    draft.extras = _chosen(project, "extras", chosen)
    groups = (*_default_groups(project), *_chosen(project, "groups", chosen))
    draft.groups = tuple(dict.fromkeys(groups))
    known = {*(_normal(each) for each in project.groups), *_default_groups(project)}
    for what, names, there in (("extra", draft.extras, extras), ("group", draft.groups, known)):
        for name in names:
            if name not in there:
                raise project.missing(what, name, there)


def _groups(project: Project) -> dict[str, list[str]]:
    groups = {_normal(each): list(project.grouped(each)) for each in project.groups}
    older = project.texts(project.uv.get("dev-dependencies", []), "tool.uv.dev-dependencies")
    return {**groups, "dev": [*groups.get("dev", []), *older]} if older else groups


def _chosen(project: Project, key: str, variant: dict[str, list[str]]) -> tuple[str, ...]:
    always = project.texts(project.ours.get(key, []), f"tool.element.{key}")
    return tuple(dict.fromkeys(_normal(each) for each in (*always, *variant.get(key, []))))


def _default_groups(project: Project) -> list[str]:
    """Return the groups that `uv sync` installs without being told."""
    said = project.uv.get("default-groups", ["dev"])
    if said == "all":
        return sorted(_normal(each) for each in project.groups)
    known = {_normal(each) for each in project.groups} | {"dev"}
    names = [_normal(each) for each in project.texts(said, "tool.uv.default-groups")]
    for name in names:
        if name not in known:
            raise project.missing("group", name, known)
    has_dev = (
        "dev" in {_normal(each) for each in project.groups} or "dev-dependencies" in project.uv
    )
    return [name for name in names if name != "dev" or has_dev]


def _check_project(project: Project) -> None:
    if not project.project:
        return
    name = project.project.get("name")
    if not isinstance(name, str) or not re.fullmatch(
        r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", name
    ):
        hint = 'Write name = "my-analysis" below [project].'
        raise project.wrong("[project] has no valid name", hint, "project")
    dynamic = project.texts(project.project.get("dynamic", []), "project.dynamic")
    if "version" not in project.project and "version" not in dynamic:
        hint = 'Write version = "0" below [project].'
        raise project.wrong("[project] has no version", hint, "project")


def _refuse_dynamic(project: Project) -> None:
    dynamic = project.texts(project.project.get("dynamic", []), "project.dynamic")
    if not {"dependencies", "optional-dependencies"} & set(dynamic):
        return
    setuptools = project.table("tool", "setuptools", "dynamic").get("dependencies", {})
    file = setuptools.get("file") if isinstance(setuptools, dict) else None
    named = file[0] if isinstance(file, list) and file else file
    hint = (
        f'Write [tool.element] and below it environment = "{shown(named)}".'
        if isinstance(named, str)
        else "Write the dependencies as a list below [project], and take the word out of dynamic."
    )
    raise unsupported(
        f"The dependencies in {project.path} are dynamic: to know them the project's own set-up "
        "code would have to be run.",
        hint,
        file=project.path,
        line=project.lines.after(r"^[ \t]*+dynamic\s*="),
        spec="dynamic",
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
