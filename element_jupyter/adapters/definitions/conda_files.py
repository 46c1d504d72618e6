"""`environment.yml`: channels, conda packages, and what pip adds."""

from __future__ import annotations

import re
from difflib import get_close_matches

from element_jupyter.adapters.definitions.failures import at, shown, unreadable, unsupported
from element_jupyter.adapters.definitions.reading import Draft
from element_jupyter.adapters.definitions.requirements_files import Requirements
from element_jupyter.adapters.definitions.sources import (
    Address,
    without_credentials,
)
from element_jupyter.adapters.definitions.yaml_text import Node, read_yaml
from element_jupyter.core.environments.definitions import OriginKind, Requirement

LONGEST_SPEC_CHARACTERS = 500

_KEYS = ("name", "channels", "dependencies", "prefix", "variables", "platforms")
_NAME = re.compile(r"(?=.*[a-z])[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_SPEC = re.compile(
    r"(?:(?P<channel>[^\s:\[\]]+)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)"
    r"(?P<rest>\s*(?:[\s=<>!~\[].*)?)$"
)


def read_conda_file(draft: Draft, path: str) -> None:
    """Read an `environment.yml` into a draft.

    Raises:
        EnvironmentFailed: it is not one; the file and line are named.
    """
    text = draft.read(path)
    if text is None:
        raise unreadable(f"{path} is not a file.", "Create it, or remove the name.", file=path)
    draft.entry = path
    document = read_yaml(text, path)
    if document is None or not isinstance(document.value, dict):
        raise unreadable(
            f"{path} is no list of channels and dependencies.",
            "Write `dependencies:` and below it one line `  - python=3.12` for each package.",
            file=path,
            line=document.line if document else None,
        )
    said = document.value
    for key, node in said.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            raise unreadable(
                f"{path} has the key '{shown(key)}', which is not known.",
                f"Write {near[0]}." if near else f"Known are {', '.join(_KEYS)}.",
                file=path,
                line=node.line,
                spec=key,
            )
    if "variables" in said:
        draft.notice(f"The variables in {path} are not set: give them as a run's parameters.")
    channels = [_channel(draft, node) for node in _items(draft, said.get("channels"), "channels")]
    if "dependencies" not in said:
        raise unreadable(
            f"{path} has no dependencies.",
            "Write `dependencies:` and below it one line `  - python=3.12` for each package.",
            file=path,
            line=document.line,
        )
    pip = Requirements(draft)
    wanted: set[str] = set()
    for node in _items(draft, said["dependencies"], "dependencies"):
        if isinstance(node.value, str):
            wanted.add(_package(draft, node))
        else:
            _pip(draft, node, pip)
    draft.says = {
        "channels": [each for each in channels if each],
        "wanted": sorted(wanted),
        "pip": pip.says,
    }
    if not wanted and not pip.wanted:
        draft.notice(f"{path} names no package, so the environment has only the kernel.")


def _items(draft: Draft, node: Node | None, key: str) -> list[Node]:
    if node is None or node.is_empty:
        return []
    if not isinstance(node.value, list):
        raise unreadable(
            f"'{key}' in {at(draft.path, node.line)} is no list.",
            "Begin each item on a line of its own with a dash.",
            file=draft.path,
            line=node.line,
        )
    return node.value


def _channel(draft: Draft, node: Node) -> str:
    written = node.value.strip() if isinstance(node.value, str) else ""
    written = written[:LONGEST_SPEC_CHARACTERS]
    location = without_credentials(written).rstrip("/")
    fault = ""
    if not written:
        fault = "is empty"
    elif "://" in written and not re.match(r"https?://[^/\s]", written):
        fault = "is no address of a server (https://…)"
    elif "${" in written:
        fault = "has a variable in it, so nobody can say where it leads"
    elif "://" not in written and not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*", written):
        fault = "is a path or no name of a channel"
    if location == "nodefaults" and not fault:
        return ""
    draft.comes_from(
        Address(OriginKind.CHANNEL, shown(location), fault), draft.path, node.line, written
    )
    return location


def _package(draft: Draft, node: Node) -> str:
    spec = str(node.value).strip()[: LONGEST_SPEC_CHARACTERS + 1]
    if re.match(r"[a-z+]+://|\.{0,2}/|~/|.*\.(conda|tar\.bz2)$", spec):
        raise unsupported(
            f"'{shown(spec)}' in {at(draft.path, node.line)} is one file, and not a package of a "
            "channel.",
            "Name the package, and under channels where it is.",
            file=draft.path,
            line=node.line,
            spec=spec,
        )
    match = _SPEC.match(spec)
    name = match["name"].lower() if match else ""
    if match is None or not _NAME.fullmatch(name) or len(spec) > LONGEST_SPEC_CHARACTERS:
        raise unreadable(
            f"'{shown(spec)}' in {at(draft.path, node.line)} is no requirement of conda.",
            "Write a package's name and, if wanted, versions: pandas>=2,<3.",
            file=draft.path,
            line=node.line,
            spec=spec,
        )
    if match["channel"]:
        _channel(draft, Node(match["channel"], node.line))
    normalised = re.sub(r"[-_.]+", "-", name)
    draft.require(Requirement(name=normalised, spec=spec, file=draft.path, line=node.line))
    rest = re.sub(r"\s*([=<>!~,|\[\]]+)\s*", r"\1", match["rest"]).strip()
    channel = f"{match['channel']}::" if match["channel"] else ""
    return " ".join(f"{channel}{name} {rest}".split())


def _pip(draft: Draft, node: Node, pip: Requirements) -> None:
    entries = node.value if isinstance(node.value, dict) else {}
    if list(entries) != ["pip"]:
        key = next((each for each in entries if each != "pip"), "")
        raise unreadable(
            f"'{shown(key) or 'A list'}' in {at(draft.path, node.line)} is no package.",
            "Write one package on each line; only `pip:` has a list of its own.",
            file=draft.path,
            line=node.line,
            spec=key,
        )
    for item in _items(draft, entries["pip"], "pip"):
        if not isinstance(item.value, str):
            raise unreadable(
                f"A line below `pip:` in {at(draft.path, item.line)} is no requirement.",
                "Write a package's name and, if wanted, versions: pandas>=2,<3.",
                file=draft.path,
                line=item.line,
            )
        pip.read_line(item.value, draft.path, item.line)
