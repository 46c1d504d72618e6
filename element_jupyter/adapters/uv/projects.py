"""Projects and scripts: their settings for uv, and what must not be built to be read."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import tomlkit
from packaging.utils import canonicalize_name
from tomlkit.exceptions import TOMLKitError

from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import (
    Definition,
    Found,
    Kind,
    Requirement,
)

_DYNAMIC: Final = ("dependencies", "optional-dependencies", "requires-python")


def without_variables(found: Found) -> Found:
    """Return a definition whose addresses take no user and password from variables.

    uv would put in whatever variable is named; those that it has are the passwords of all indexes,
    and who trusts a place has not been asked whether it may have these.
    """
    contents = {path: _VARIABLES.sub(b"", each) for path, each in found.contents.items()}
    return replace(found, contents=contents)


_VARIABLES: Final = re.compile(rb"(?<=//)[^/@\s\"'<>]*\$\{[^/@\s\"'<>]*@")


def own_settings(found: Found) -> Mapping[str, Any]:
    """Return `[tool.uv]` of a project or of a script; empty for other definitions.

    Raises:
        EnvironmentFailed: it is no TOML; `parse_error`.
    """
    definition = found.definition
    if definition.kind not in {Kind.PYPROJECT, Kind.INLINE}:
        return {}
    try:
        text = found.contents[definition.entry].decode("utf-8-sig")
        if definition.kind is Kind.INLINE:
            block = _BLOCK.search(text.replace("\r\n", "\n"))
            text = re.sub(r"(?m)^# ?", "", block["content"]) if block else ""
        tool = tomllib.loads(text).get("tool", {})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _malformed(definition, str(error)) from error
    settings = tool.get("uv", {}) if isinstance(tool, dict) else {}
    return settings if isinstance(settings, dict) else {}


def named_indexes(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the URLs of the indexes that a definition gives names."""
    return {
        str(each["name"]): str(each["url"])
        for each in settings.get("index", ())
        if isinstance(each, dict) and "name" in each and "url" in each
    }


def plain_script(found: Found, settings: Sequence[str]) -> bytes:
    """Return an inline definition as a script with these settings and no others.

    What a script says in `[tool.uv]` goes before the configuration that uv is given, and could name
    a proxy, or a host whose certificate is not to be checked.

    Raises:
        EnvironmentFailed: it is no TOML; `parse_error`.
    """
    definition = found.definition
    own = own_settings(found)
    try:
        text = found.contents[definition.entry].decode("utf-8-sig").replace("\r\n", "\n")
        block = _BLOCK.search(text)
        document = tomllib.loads(re.sub(r"(?m)^# ?", "", block["content"]) if block else "")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _malformed(definition, str(error)) from error
    plain: dict[str, Any] = {
        key: document[key] for key in ("requires-python", "dependencies") if key in document
    }
    if kept := {key: own[key] for key in (*settings, *_OF_SCRIPTS) if key in own}:
        plain["tool"] = {"uv": kept}
    lines = tomlkit.dumps(plain).splitlines()
    return "".join(
        f"{each}\n" for each in ("# /// script", *(f"# {line}" for line in lines), "# ///")
    ).encode()


_OF_SCRIPTS: Final = (
    "sources",
    "constraint-dependencies",
    "build-constraint-dependencies",
    "override-dependencies",
    "exclude-dependencies",
    "dependency-metadata",
    "environments",
    "required-environments",
    "conflicts",
)
_BLOCK: Final = re.compile(r"(?m)^# /// script[ \t]*\n(?P<content>(?:^#(?:| .*)\n)+)^# ///[ \t]*$")


def made_static(directory: Path, found: Found) -> None:
    """Give every project in a scratch copy a version, so that none has to be built to learn it.

    Raises:
        EnvironmentFailed: more of a project is only known to its build scripts.
    """
    versionless = []
    for path, content in found.contents.items():
        if PurePosixPath(path).name != "pyproject.toml":
            continue
        try:
            document = tomlkit.parse(content.decode("utf-8-sig"))
        except (UnicodeDecodeError, TOMLKitError) as error:
            raise _malformed(found.definition, str(error), path) from error
        project = document.get("project")
        dynamic = list(project.get("dynamic", [])) if isinstance(project, dict) else []
        if project is None or not dynamic:
            continue
        if secret := [each for each in _DYNAMIC if each in dynamic]:
            raise _not_static(path, secret)
        if "version" in dynamic and "version" not in project:
            project["dynamic"] = [each for each in dynamic if each != "version"]
            project["version"] = _PLACEHOLDER
            (directory / path).write_text(tomlkit.dumps(document))
            versionless.append(canonicalize_name(str(project.get("name", ""))))
    if versionless and found.definition.lock_path:
        lock = directory / found.definition.lock_path
        lock.write_text(_with_versions(lock.read_text(), versionless))


_PLACEHOLDER: Final = "0"


def _with_versions(lock: str, names: Sequence[str]) -> str:
    """Give the same version to projects in a `uv.lock`, which has none for a dynamic one."""
    for name in names:
        lock = re.sub(
            rf'(\[\[package\]\]\nname = "{re.escape(name)}"\n)(?=source = )',
            rf'\1version = "{_PLACEHOLDER}"\n',
            lock,
        )
    return lock


def _not_static(path: str, secret: Sequence[str]) -> EnvironmentFailed:
    words = " and ".join(f"its {each}" for each in secret)
    return EnvironmentFailed(
        Failure(
            code=FailureCode.NOT_SUPPORTED,
            title="The project has to be built to know what it needs",
            summary=f"{path} leaves {words} to its build scripts (`dynamic`), and reading a"
            " definition never runs code.",
            hints=(
                f"Write {' and '.join(secret)} into [project] of {path}.",
                "Or put a requirements.txt beside the notebook.",
            ),
            culprits=(Requirement(name="", spec=f"dynamic = {json.dumps(secret)}", file=path),),
        )
    )


def _malformed(definition: Definition, why: str, path: str | None = None) -> EnvironmentFailed:
    name = path or definition.path
    return EnvironmentFailed(
        Failure(
            code=FailureCode.PARSE_ERROR,
            title=f"{name} cannot be read",
            summary=f"{name}: {why}",
            hints=("Mend the file.",),
            culprits=(Requirement(name="", spec="", file=name),),
        )
    )
