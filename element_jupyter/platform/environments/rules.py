"""What tools may do and know: the deployment's configuration, and what people have trusted."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from element_jupyter import config
from element_jupyter.core.environments.building import EnvironmentFailed, Rules
from element_jupyter.core.environments.definitions import Found, Kind, Origin, OriginKind
from element_jupyter.core.environments.identity import Artefact
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.values import UtcTime, Value
from element_jupyter.platform.data import write_private

_PASSED: Final = re.compile(
    r"HOME|PATH|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR"
    # certificates
    r"|SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO"
    # proxies
    r"|(?:HTTP|HTTPS|ALL|NO|http|https|all|no)_(?:PROXY|proxy)"
    # credentials, and what a keyring needs to be asked
    r"|NETRC|UV_INDEX_\w+_(?:USERNAME|PASSWORD)|UV_KEYRING_PROVIDER|RATTLER_AUTH_FILE"
    r"|XDG_RUNTIME_DIR|XDG_DATA_HOME|DBUS_SESSION_BUS_ADDRESS|SSH_AUTH_SOCK"
    r"|UV_CREDENTIALS_DIR|PYTHON_KEYRING_BACKEND"
    # what a builder without a graphics card may lock for
    r"|CONDA_OVERRIDE_\w+"
    # how patient the network wants it
    r"|UV_SYSTEM_CERTS|UV_NATIVE_TLS|UV_HTTP_(?:TIMEOUT|CONNECT_TIMEOUT|RETRIES)"
    r"|UV_CONCURRENT_DOWNLOADS"
)
"""Nothing else reaches a tool: a stray `UV_…` or `PIP_…` must not change what is locked."""


def rules(
    settings: config.Element,
    variables: Mapping[str, str],
    *,
    project: Path | None = None,
) -> Rules:
    """Return the rules for definitions of a project.

    `variables` are the process environment; of it, tools get what `_PASSED` names. For a snapshot,
    which has no place, and for a lock it is what is trusted in any project: a person has made it of
    a project in which they were asked.

    Raises:
        Unavailable: what people have trusted cannot be read.
    """
    trusted = Trust(settings.store).origins(project)
    allowed = {
        Origin(kind=kind, location=location)
        for location in settings.allowed_origins
        for kind in OriginKind
        if kind is not OriginKind.SDIST
    }
    builds = {each.location for each in trusted if each.kind is OriginKind.SDIST}
    passed = {name: text for name, text in variables.items() if _PASSED.fullmatch(name)}
    caches = {
        "UV_CACHE_DIR": str(settings.store / "uv-cache"),
        "RATTLER_CACHE_DIR": str(settings.store / "rattler-cache"),
    }
    return Rules(
        index_urls=tuple(settings.index_urls),
        find_links=tuple(settings.find_links),
        channels=tuple(settings.channels),
        trusted=trusted | allowed,
        builds_allowed=frozenset(settings.allowed_builds) | builds,
        offline=settings.offline,
        timeout_seconds=settings.build_timeout_seconds,
        variables=passed | caches,
    )


def may_use(settings: config.Element, found: Found, packages: Iterable[Artefact]) -> bool:
    """Whether a definition may have an environment that is there, perhaps for another project's.

    Costs nothing where all comes from the deployment's own indexes.

    Raises:
        Unavailable: what people have trusted cannot be read.
    """
    definition = found.definition
    built = [each for each in packages if _is_built(each)]
    if not definition.origins and not built:
        return True
    allowed = rules(settings, {}, project=found.root)
    if definition.kind in {Kind.CONDA, Kind.PIXI}:
        from element_jupyter.adapters.rattler.channels import channel_url, refuse_untrusted

        named = [each for each in definition.origins if each.kind is OriginKind.CHANNEL]
        try:
            channels = [channel_url(each.location, allowed) for each in named]
            refuse_untrusted(found, channels, allowed)
        except EnvironmentFailed:
            return False
        return True
    from element_jupyter.adapters.uv.origins import is_allowed, may_be_built

    return all(is_allowed(each, allowed) for each in definition.origins) and all(
        may_be_built(each.name, allowed)
        or any(
            is_allowed(Origin(kind=kind, location=each.url), allowed)
            for kind in (OriginKind.VCS, OriginKind.URL)
        )
        for each in built
    )


def _is_built(package: Artefact) -> bool:
    """Whether a package of Python was built from source, and did not come as a wheel."""
    return package.filename.endswith(".whl") and not urlsplit(package.url).path.endswith(".whl")


class _Trusted(Value):
    """One thing that a person trusts, in one project."""

    project: str
    origin: Origin
    who: str
    at: UtcTime


class _File(Value):
    """All of `trust.json`."""

    trusted: tuple[_Trusted, ...] = ()


class Trust:
    """`trust.json` of a store: what people trust, by project, and since when."""

    def __init__(self, store: Path) -> None:
        self._path = store / "trust.json"

    def origins(self, project: Path | None) -> frozenset[Origin]:
        """Return what is trusted in a project, or in any.

        Raises:
            Unavailable: the file cannot be read.
        """
        return frozenset(
            each.origin
            for each in self._read().trusted
            if project is None or each.project == str(project)
        )

    def add(self, project: Path, origins: Iterable[Origin], who: str) -> None:
        """Record that a person trusts these; durable when it returns.

        Raises:
            Unavailable: the file cannot be read or written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        plain = [Origin(kind=each.kind, location=each.location) for each in origins]
        with self._path.with_name("trust.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = self._read().trusted
            there = {(each.project, each.origin) for each in known}
            added = tuple(
                _Trusted(project=str(project), origin=each, who=who, at=datetime.now(UTC))
                for each in dict.fromkeys(plain)
                if (str(project), each) not in there
            )
            if added:
                document = _File(trusted=known + added).model_dump(mode="json")
                write_private(self._path, json.dumps(document, indent=1) + "\n")

    def _read(self) -> _File:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                # root may write what it likes anyway
                if status.st_uid not in {os.geteuid(), 0} or status.st_mode & 0o022:
                    raise _somebody_elses(self._path)
                return _File.model_validate_json(file.read())
        except FileNotFoundError:
            return _File()
        except (OSError, ValidationError) as error:
            reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "damaged"
            raise Unavailable(
                f"What has been trusted cannot be read: {self._path} is {reason}.",
                "Mend the file, or remove it: what it held is asked again.",
            ) from error


def _somebody_elses(path: Path) -> Unavailable:
    return Unavailable(
        f"What has been trusted cannot be believed: others than you may have written {path}.",
        "Remove the file: what it held is asked again.",
    )
