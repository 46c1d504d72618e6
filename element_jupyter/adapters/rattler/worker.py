"""The process in which py-rattler works: `python -P -m element_jupyter.adapters.rattler.worker`.

One request, a line of JSON, on standard input; on standard output a line of JSON each for what is
told, and at the end for the result or the error:

    {"tell": ["downloading", 3, 12, "numpy"]}
    {"result": {…}}  or  {"error": {"kind": "SolverError", "message": "…"}}

It ends with `os._exit`: py-rattler 0.28 crashes now and then when its interpreter is taken down
(https://github.com/PyO3/pyo3-async-runtimes/issues/40), and there is nothing to
clean up. It also ends when its standard input does, which is when its parent has died.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import rattler
from rattler.exceptions import SolverError

Tell = Callable[[str, int | None, int | None, str], None]


class Refused(Exception):
    """What a lock or a definition has in it and must not be used; `kind` is what is told."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# ------------------------------------------------------------------------------------- operations


async def solve(request: dict[str, Any], _tell: Tell) -> dict[str, Any]:
    """Solve specifications; without those in `preferred` if they cannot be had as well."""
    specs = [rattler.MatchSpec(each) for each in request["specs"]]
    preferred = [rattler.MatchSpec(each) for each in request["preferred"]]
    allowed = {rattler.Channel(url).base_url for url in request["channels"]}
    for spec in specs:
        if spec.channel is not None and spec.channel.base_url not in allowed:
            raise Refused("channel", spec.channel.base_url)
        if "url=" in str(spec):
            raise Refused("url", str(spec))
    known = _records(request["locked"], request["scratch"]) if request["locked"] else []
    newest = request["exclude_newer"]
    gateway = rattler.Gateway(
        cache_dir=Path(request["cache"]) / "repodata",
        default_config=rattler.SourceConfig(
            cache_action="force-cache-only" if request["offline"] else "cache-or-fetch"
        ),
        client=_client(),
    )

    async def solution(wanted: list[rattler.MatchSpec]) -> list[rattler.RepoDataRecord]:
        return await rattler.solve(
            request["channels"],
            wanted,
            gateway=gateway,
            locked_packages=known,
            pinned_packages=known if request["pinned"] else None,
            virtual_packages=list(
                rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env())
            ),
            exclude_newer=datetime.fromisoformat(newest) if newest else None,
            timeout=timedelta(seconds=request["timeout_seconds"]),
            # a channel that is trusted must not bring in others (CEP 42)
            channel_relations="disabled",
        )

    if request["pinned"]:
        specs += [rattler.MatchSpec(f"{each.name.normalized}=={each.version}") for each in known]
    without: list[str] = []
    try:
        records = await solution([*specs, *preferred])
    except SolverError:
        if not preferred:
            raise
        records, without = await solution(specs), request["preferred"]
    return {
        "lock": _lock(records, request["channels"], [], request["scratch"]),
        "without": without,
        **_facts(records),
    }


async def read(request: dict[str, Any], _tell: Tell) -> dict[str, Any]:
    """Read one environment of a `pixi.lock` for this platform, and check it against wishes."""
    lock = rattler.LockFile.from_path(request["path"])
    environments = dict(lock.environments())
    environment = environments.get(request["environment"])
    if environment is None:
        raise Refused("environment", ", ".join(sorted(environments)))
    here = str(rattler.Subdir.current())
    platforms = environment.platforms()
    platform = next((each for each in platforms if str(each.subdir) == here), None)
    if platform is None:
        raise Refused("platform", ", ".join(sorted(str(each.subdir) for each in platforms)))
    packages = environment.packages(platform) or []
    conda, pypi = [], []
    for package in packages:
        if isinstance(package, rattler.CondaLockedBinaryPackage):
            conda.append(package.repo_data_record())
        elif isinstance(package, rattler.PypiLockedPackage):
            pypi.append(
                {
                    "name": package.name,
                    "version": package.version or "",
                    "url": package.location,
                    "sha256": _sha256(package),
                }
            )
        else:
            raise Refused("source", package.name)
    specs = [(text, rattler.MatchSpec(text)) for text in request["specs"]]
    channels = [str(each).rstrip("/") for each in environment.channels()]
    return {
        "lock": _lock(conda, channels, [], request["scratch"]),
        "channels": channels,
        "unmet": [text for text, spec in specs if not any(spec.matches(each) for each in conda)],
        "wheels": pypi,
        # where each file is, less platform and name
        "from": sorted({str(each.url).rsplit("/", 2)[0] for each in conda}),
        **_facts(conda),
    }


async def write(request: dict[str, Any], _tell: Tell) -> dict[str, Any]:
    """Write a lock of conda packages, which are in another lock already, and Python packages."""
    records = _records(request["lock"], request["scratch"])
    text = _lock(records, request["channels"], request["wheels"], request["scratch"])
    return {"lock": text}


async def install(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Install a lock's conda packages into a prefix, whose files will say `final`."""
    packages = Path(request["cache"]) / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    records = _records(request["lock"], request["scratch"])
    # hashed again: what is linked into an environment can be written to through it
    layer = rattler.PackageCacheLayer(packages).with_validation_mode(rattler.ValidationMode.full())
    cache = rattler.PackageCache.from_layers([layer])
    if request["offline"]:
        there = await cache.index()
        missing = [each.file_name for each in records if not there.contains_record(each)]
        if missing:
            raise Refused("offline", ", ".join(missing[:10]))
    await rattler.install(
        records,
        request["prefix"],
        package_cache=cache,
        installed_packages=[],
        execute_link_scripts=False,
        show_progress=False,
        client=_client(),
        requested_specs=[],
        reporter=_Reporter(tell),  # type: ignore[abstract] # its methods do nothing
        alternative_target_prefix=request["final"],
    )
    return {}


OPERATIONS = {"solve": solve, "read": read, "write": write, "install": install}


# ----------------------------------------------------------------------------------------- rattler


def _client() -> rattler.Client:
    # the machine's certificates: a company's proxy has its own
    return rattler.Client.from_config(rattler.Config.from_toml('tls-root-certs = "system"'))


def _sha256(package: rattler.LockedPackage) -> str:
    try:
        return (package.hashes.sha256 or b"").hex() if package.hashes else ""
    except AttributeError:  # what py-rattler 0.28 raises for a package without hashes
        return ""


def _records(lock: str, scratch: str) -> list[rattler.RepoDataRecord]:
    path = Path(scratch, f"{os.getpid()}.pixi.lock")
    path.write_text(lock, encoding="utf-8")
    environment = rattler.LockFile.from_path(path).default_environment()
    path.unlink()
    found = environment.conda_repodata_records() if environment else {}
    return [record for records in found.values() for record in records]


def _lock(
    records: Iterable[rattler.RepoDataRecord],
    channels: list[str],
    wheels: list[dict[str, str]],
    scratch: str,
) -> str:
    platform = rattler.LockPlatform(str(rattler.Subdir.current()))
    lock = rattler.LockFile([platform])
    lock.set_channels("default", [rattler.LockChannel(each) for each in channels])
    for record in sorted(records, key=lambda each: str(each.url)):
        if record.sha256 is None:
            raise Refused("sha256", str(record.file_name))
        # when a channel was indexed says nothing about the package
        record.indexed_timestamp = None
        lock.add_conda_package("default", platform, record)
    for each in sorted(wheels, key=lambda each: each["name"]):
        location = f"{each['url']}#sha256={each['sha256']}"
        lock.add_pypi_package("default", platform, each["name"], each["version"], location)
    path = Path(scratch, f"{os.getpid()}.written.lock")
    lock.to_path(path)
    text = path.read_text(encoding="utf-8")
    path.unlink()
    return text


def _facts(records: Iterable[rattler.RepoDataRecord]) -> dict[str, Any]:
    versions = {record.name.normalized: str(record.version) for record in records}
    return {"versions": versions, "platform": str(rattler.Subdir.current())}


class _Reporter(rattler.InstallerReporter):
    """Counts packages; called by rattler from threads of its own."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._total = self._fetched = self._linked = 0

    def on_transaction_start(self, total_operations: int) -> None:
        self._total = total_operations

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        with self._lock:
            self._fetched += 1
            self._say()

    def on_link_complete(self, index: int) -> None:
        with self._lock:
            self._linked += 1
            self._say()

    def _say(self) -> None:
        if self._fetched < self._total:
            self._tell("downloading", self._fetched, self._total, "")
        else:
            self._tell("installing", self._linked, self._total, "")


# ------------------------------------------------------------------------------------ the process


def main() -> None:
    """Answer one request, and end."""
    # whatever a library prints must not get between the lines
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def tell(phase: str, done: int | None, total: int | None, message: str) -> None:
        say({"tell": [phase, done, total, message]})

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        say({"result": asyncio.run(OPERATIONS[request["operation"]](request, tell))})
    except Refused as error:
        say({"error": {"kind": error.kind, "message": str(error)}})
    # whatever it is, the parent has it explained
    except Exception as error:  # noqa: BLE001
        say({"error": {"kind": type(error).__name__, "message": str(error)}})
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
