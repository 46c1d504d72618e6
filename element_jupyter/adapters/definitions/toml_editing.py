"""Adding requirements to TOML, with its comments, order and layout kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from element_jupyter.adapters.definitions.requirement import Parsed, parse_named
from element_jupyter.core.environments.definitions import Definition


def added_to_project(text: str, definition: Definition, fresh: Mapping[str, Parsed]) -> str:
    """Return a `pyproject.toml` with requirements added: to [project], else to the group in use."""
    import tomlkit

    document: Any = tomlkit.parse(text)
    if "project" in document:
        table, key = document["project"], "dependencies"
    else:
        table, key = document.setdefault("dependency-groups", tomlkit.table()), "dev"
        in_use = {re.sub(r"[-_.]+", "-", each).lower(): each for each in table}
        key = next((in_use[each] for each in definition.groups if each in in_use), key)
    # what is asked for more precisely elsewhere in the file is made precise there
    others = [document.get("project", {}).get("optional-dependencies", {})]
    others.append(document.get("dependency-groups", {}))
    lists = [table.get(key, []), *(each for other in others for each in other.values())]
    for requirement, parsed in fresh.items():
        if not _replace(lists, requirement, parsed):
            _append(table, key, requirement)
    return tomlkit.dumps(document)


def added_to_script(text: str, fresh: Mapping[str, Parsed]) -> str:
    """Return the TOML of an inline definition with requirements added."""
    import tomlkit

    document: Any = tomlkit.parse(text)
    for requirement, parsed in fresh.items():
        if not _replace([document.get("dependencies", [])], requirement, parsed):
            _append(document, "dependencies", requirement)
    return tomlkit.dumps(document)


def _replace(lists: Iterable[Any], requirement: str, parsed: Parsed) -> bool:
    for items in lists:
        for index, item in enumerate(items):
            known = parse_named(item) if isinstance(item, str) else ""
            if isinstance(known, Parsed) and known.name == parsed.name:
                items[index] = requirement
                return True
    return False


def _append(table: Any, key: str, requirement: str) -> None:
    import tomlkit

    if key not in table:
        items = tomlkit.array()
        # a key must come before the tables that follow it
        if isinstance(table, tomlkit.TOMLDocument) and len(table):
            held = [(name, table.item(name)) for name in list(table)]
            for name, _ in held:
                table.remove(name)
            table[key] = items
            for name, item in held:
                table[name] = item
        else:
            table[key] = items
    table[key].append(requirement)
