"""`[tool.uv]`, in a `pyproject.toml` or an inline definition: where uv takes packages from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from element_jupyter.adapters.definitions.failures import at, shown, unreadable, unsupported
from element_jupyter.adapters.definitions.reading import Draft
from element_jupyter.adapters.definitions.requirement import read_requirement
from element_jupyter.adapters.definitions.sources import (
    index_address,
    package_address,
    without_credentials,
)
from element_jupyter.adapters.definitions.toml_text import Lines
from element_jupyter.core.environments.definitions import OriginKind

DEEPEST = 20


def read_uv_settings(
    draft: Draft, uv: Mapping[str, Any], names: Mapping[str, str], lines: Lines
) -> Any:
    """Note the places that `[tool.uv]` names, and return what it means.

    `names` has the packages that are required: a path is refused for these only.

    Raises:
        EnvironmentFailed: packages come from paths, or an address is none.
    """
    path = lines.file
    _refuse_workspace(uv, lines)
    for table in (uv, uv.get("pip", {})):
        if not isinstance(table, dict):
            continue
        for key in ("index-url", "extra-index-url", "find-links"):
            said = table.get(key, [])
            kind = OriginKind.FIND_LINKS if key == "find-links" else OriginKind.INDEX
            for url in said if isinstance(said, list) else [said]:
                _place(draft, url, kind, lines)
    indexes = uv.get("index", [])
    for index in indexes if isinstance(indexes, list) else [indexes]:
        flat = isinstance(index, dict) and index.get("format") == "flat"
        url = index.get("url") if isinstance(index, dict) else None
        _place(draft, url, OriginKind.FIND_LINKS if flat else OriginKind.INDEX, lines)
    names = {**names, **_further(draft, uv, lines)}
    sources = uv.get("sources", {})
    if not isinstance(sources, dict):
        raise _wrong("'tool.uv.sources' is no table", path, lines.after(r"^[ \t]*+\[?.*sources"))
    for name, source in sources.items():
        _source(draft, name, source, names, lines)
    return _plain(uv, 0, path)


def _further(draft: Draft, uv: Mapping[str, Any], lines: Lines) -> dict[str, str]:
    """Note the places that overrides and constraints name; return these by package."""
    found: dict[str, str] = {}
    for key in (
        "override-dependencies",
        "constraint-dependencies",
        "build-constraint-dependencies",
    ):
        said = uv.get(key, [])
        for text in said if isinstance(said, list) else [said]:
            if isinstance(text, str):
                found[read_requirement(draft, text, lines.file, lines.of(text)).name] = text
    return found


def _source(draft: Draft, name: str, source: Any, names: Mapping[str, str], lines: Lines) -> None:
    path = lines.file
    for each in source if isinstance(source, list) else [source]:
        if not isinstance(each, dict):
            raise _wrong(f"The source of '{shown(name)}' is no table", path, None)
        line = lines.of_key(name)
        for key in ("git", "url"):
            if isinstance(url := each.get(key), str):
                written = url if key == "url" or url.startswith("git+") else f"git+{url}"
                draft.comes_from(package_address(written), path, lines.of(url), written)
        local = next((key for key in ("path", "workspace") if each.get(key)), None)
        if local and name.lower().replace("_", "-").replace(".", "-") in names:
            raise unsupported(
                f"'{shown(name)}' in {at(path, line)} comes from a {local}: files of the project "
                "belong to the code.",
                f"Take {shown(name)} out of the dependencies, since a notebook can import the "
                "project's own code as it is, and name what that code needs instead; or publish "
                "it as a wheel on an index.",
                file=path,
                line=line,
                spec=names[name.lower().replace("_", "-").replace(".", "-")],
                name=name,
            )


def _place(draft: Draft, url: Any, kind: OriginKind, lines: Lines) -> None:
    if not isinstance(url, str):
        raise _wrong(
            "An index in [tool.uv] has no url", lines.file, lines.after(r"^[ \t]*+\[\[?tool\.uv")
        )
    draft.comes_from(index_address(url, kind), lines.file, lines.of(url), url)


def _refuse_workspace(uv: Mapping[str, Any], lines: Lines) -> None:
    workspace, path = uv.get("workspace"), lines.file
    if isinstance(workspace, dict) and workspace.get("members"):
        raise unsupported(
            f"{path} is the top of a workspace, whose members belong to the code.",
            "Put a definition of its own beside the notebook that names what these need; or write "
            '[tool.element] and below it environment = "requirements.txt".',
            file=path,
            line=lines.after(r"^[ \t]*+\[tool\.uv\.workspace"),
            spec="tool.uv.workspace",
        )


def _wrong(fault: str, path: str, line: int | None) -> Exception:
    hint = "See https://docs.astral.sh/uv/reference/settings/ for what is written there."
    return unreadable(f"{fault}, in {at(path, line)}.", hint, file=path, line=line)


def _plain(value: Any, depth: int, path: str) -> Any:
    """Return settings as JSON without credentials."""
    if depth > DEEPEST:
        raise unreadable(f"{path} is nested too deep.", "Write it flat.", file=path)
    if isinstance(value, dict):
        return {key: _plain(each, depth + 1, path) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1, path) for each in value]
    return without_credentials(value) if isinstance(value, str) else repr(value)
