"""`pixi.toml` or `[tool.pixi]` with its `pixi.lock`, which alone says what is installed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from element_jupyter.adapters.definitions.failures import at, shown, unreadable
from element_jupyter.adapters.definitions.reading import Draft
from element_jupyter.adapters.definitions.sources import Address, without_credentials
from element_jupyter.adapters.definitions.toml_text import Lines
from element_jupyter.core.environments.definitions import OriginKind, Requirement

LOCK = "pixi.lock"


def read_pixi(draft: Draft, path: str, pixi: Mapping[str, Any], content: bytes, text: str) -> None:
    """Read a pixi manifest into a draft; the lock is beside it. A pixi environment is a variant.

    Raises:
        EnvironmentFailed: there is no such environment in it.
    """
    draft.take(path, content, text)
    draft.entry = path
    lines = Lines(text, path)
    lock = posixpath.join(posixpath.dirname(path), LOCK)
    locked = draft.reader.raw(lock)
    if locked is None:
        raise unreadable(
            f"{path} has no {LOCK} beside it.", "Write it with `pixi lock`.", file=path
        )
    draft.take(lock, locked)
    draft.lock_path = lock
    environments = pixi.get("environments", {})
    names = set(environments) if isinstance(environments, dict) else set()
    draft.variants = tuple(sorted(each for each in names - {"default"} if _NAME.fullmatch(each)))
    if draft.variant is not None and draft.variant not in {*draft.variants, "default"}:
        raise unreadable(
            f"There is no environment '{shown(draft.variant)}' in {path}.",
            f"There are: {', '.join(('default', *draft.variants))}.",
            file=path,
        )
    for key in ("dependencies", "pypi-dependencies"):
        _read_dependencies(draft, pixi.get(key, {}), path, lines)
    for table in (pixi.get("workspace", {}), pixi.get("project", {})):
        channels = table.get("channels", []) if isinstance(table, dict) else []
        for channel in channels if isinstance(channels, list) else ():
            written = channel.get("channel") if isinstance(channel, dict) else channel
            if isinstance(written, str):
                location = shown(without_credentials(written).rstrip("/"))
                address = Address(OriginKind.CHANNEL, location)
                draft.comes_from(address, path, lines.of(written), written)
    draft.says = {"environment": draft.variant or "default"}


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def _read_dependencies(draft: Draft, said: Any, path: str, lines: Lines) -> None:
    if not isinstance(said, dict):
        raise unreadable(f"The dependencies in {path} are no table.", "Write a table.", file=path)
    for name, version in said.items():
        line = lines.of_key(name)
        if isinstance(version, dict) and version.get("path"):
            draft.notice(
                f"'{shown(name)}' in {at(path, line)} is a path: the project's own code is "
                "imported as it is, and not installed."
            )
        text = version if isinstance(version, str) else ""
        draft.require(
            Requirement(
                name=re.sub(r"[-_.]+", "-", name).lower(),
                spec=without_credentials(f"{name} {text}".strip()),
                file=path,
                line=line,
            )
        )
