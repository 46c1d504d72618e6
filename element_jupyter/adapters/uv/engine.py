"""`Uv`: the engine of Python definitions, over the `uv` program.

What is relied upon in it is pinned by `uv>=0.13.8,<0.14`: its pylock format, which it still calls a
preview, where it keeps wheels in its cache, and the sentences in `failures`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.pylock import Package, PackageSdist

from element_jupyter.adapters.uv import lockfile
from element_jupyter.adapters.uv.building import build, unpacked, without_times
from element_jupyter.adapters.uv.chosen import chosen_of, is_built
from element_jupyter.adapters.uv.failures import explain
from element_jupyter.adapters.uv.installing import Progress
from element_jupyter.adapters.uv.interpreters import Target, target_of
from element_jupyter.adapters.uv.lockfile import Document, Source
from element_jupyter.adapters.uv.locking import KERNEL, Resolving
from element_jupyter.adapters.uv.origins import (
    buildable,
    host_of,
    hosts_of_files,
    may_be_built,
    plain_index,
    require_known_places,
    require_own_names,
    require_trust,
)
from element_jupyter.adapters.uv.process import Sandbox, Tool
from element_jupyter.adapters.uv.projects import named_indexes, own_settings, without_variables
from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Failure,
    FailureCode,
    Lock,
    Phase,
    Rules,
    Tell,
)
from element_jupyter.core.environments.definitions import (
    Definition,
    Found,
    Kind,
    Origin,
    OriginKind,
)
from element_jupyter.core.environments.identity import Artefact, Backend, Interpreter


class Uv:
    """Locks and installs with `uv`; implements `Engine`.

    `program` is the binary, by default that of the PyPI package. Source distributions are built in
    `sandbox`; without one they are refused. `cache` is uv's cache while locking, by default what
    the rules' variables say; installing uses the store's.
    """

    def __init__(
        self,
        program: Path | None = None,
        sandbox: Sandbox | None = None,
        cache: Path | None = None,
    ) -> None:
        self._program = program
        self._sandbox = sandbox
        self._cache = cache

    @property
    def program(self) -> Path:
        """The binary."""
        if self._program is None:
            import uv

            self._program = Path(uv.find_uv_bin())
        return self._program

    # ------------------------------------------------------------------------------------- locking

    def lock(
        self,
        found: Found,
        interpreter: Interpreter | None,
        rules: Rules,
        tell: Tell,
        *,
        previous: bytes | None = None,
        upgrade: bool = False,
        scratch: Path,
    ) -> Lock:
        """Resolve a definition; see `Engine.lock`. `scratch` is an empty directory.

        Raises:
            EnvironmentFailed: it needs trust, or cannot be resolved.
        """
        found = without_variables(found)
        definition, python = found.definition, _required(interpreter)
        require_trust(definition, rules)
        settings = own_settings(found)
        require_own_names(named_indexes(settings), rules)
        tell(Phase.RESOLVING)

        def say(line: str) -> None:
            if _tells(line):
                tell(Phase.RESOLVING, message=line)

        earlier = _readable(previous) if previous is not None and not upgrade else None
        target = target_of(python)
        wheels_only = self._resolving(rules, python, scratch / "wheels", say)
        building = self._resolving(rules, python, scratch / "sources", say, building=True)
        document, scripts_ran = _resolved_somehow(
            wheels_only, building, found, earlier, upgrade=upgrade
        )
        packages = lockfile.tidied(
            _chosen(document, definition, target), may_build=buildable(rules)
        )
        selected = lockfile.select(_EMPTY | {"packages": packages}, target)
        kernel = next((each for each, _ in selected if each.name == KERNEL), None)
        if kernel is None:
            versions = {str(p.name): str(p.version) for p, _ in selected if p.version is not None}
            layer = wheels_only.kernel(versions, definition, earlier)
            have = {str(each.name) for each, _ in selected}
            added = [each for each in layer["packages"] if each["name"] not in have]
            # what the definition has for other machines only would be there twice
            names = {each["name"] for each in added}
            packages = [each for each in packages if each["name"] not in names]
            packages += lockfile.tidied(added, may_build=())
            packages.sort(key=lambda each: str(each["name"]))
            selected = lockfile.select(_EMPTY | {"packages": packages}, target)
        sources = _sources(selected, definition, rules)
        # what build scripts could reach, they may have rewritten, as a person may a lock
        doubtful = _is_lock(definition.lock_path) or scripts_ran
        chosen = {str(each.name) for each, _ in selected}
        require_known_places(
            (
                each
                for each in packages
                if each["name"] in chosen and (doubtful or {"vcs", "archive"} & each.keys())
            ),
            definition,
            rules,
            named_in=definition.lock_path or definition.path,
        )
        for package, source in selected:
            lockfile.artefact(package, source)
        content = lockfile.written(
            packages,
            requires_python=_requires_python(document, python),
            meaning=definition.meaning,
            python=python.version,
            indexes=named_indexes(settings),
            consistent=not any(settings.get(each) for each in OVERRIDES),
            built=build(building, sources, definition),
        )
        return Lock(backend=Backend.UV, content=content, python=python.version)

    # ----------------------------------------------------------------------------------- installing

    def artefacts(self, content: bytes, interpreter: Interpreter | None) -> tuple[Artefact, ...]:
        """Return what of a lock is installed for an interpreter, sorted by name.

        Raises:
            EnvironmentFailed: the lock is malformed, or has nothing for this interpreter.
        """
        return chosen_of(content, _required(interpreter)).artefacts

    def install(
        self,
        content: bytes,
        interpreter: Interpreter | None,
        rules: Rules,
        tell: Tell,
        *,
        prefix: Path,
        final: Path,
        cache: Path,
    ) -> None:
        """Make a relocatable virtual environment in `prefix`; see `Engine.install`.

        Raises:
            EnvironmentFailed: a file cannot be had or is not what its hash says.
        """
        python = _required(interpreter)
        chosen = chosen_of(content, python)
        said, selected, built = chosen.said, chosen.selected, chosen.built
        beside = prefix.parent / f"{prefix.name}-uv"
        beside.mkdir(parents=True)
        try:
            tool = self._tool(rules, cache)
            lock = beside / "pylock.toml"
            packages = _with_indexes(
                [
                    *lockfile.reduced(each for each in selected if not is_built(each[1])),
                    *(
                        {"name": str(package.name)}
                        | unpacked(built[package.name], package.name, beside)
                        for package, source in selected
                        if is_built(source)
                    ),
                ],
                rules,
            )
            lock.write_bytes(lockfile.written(packages))
            _checked(
                tool,
                [
                    *("venv", "--no-config", "--no-project", "--relocatable", "--quiet"),
                    *("--python", python.path, "--no-python-downloads"),
                    *("--allow-existing", str(prefix)),
                ],
                beside,
                rules,
            )
            progress = Progress(chosen.artefacts, cache, prefix, tell)
            progress.watch()
            _checked(
                tool,
                [
                    *("pip", "sync", "--no-config", "--preview-features", "pylock"),
                    *("--only-binary", ":all:"),
                    *("--python", str(prefix / "bin" / "python"), "--no-python-downloads"),
                    *("--link-mode", "hardlink", "--strict", "--allow-empty-requirements"),
                    *(["--offline"] if rules.offline else []),
                    *_index_arguments(packages, said.get("indexes", {}), rules),
                    str(lock),
                ],
                beside,
                rules,
                on_line=lambda line: tell(*progress.now, message=line) if _tells(line) else None,
                watch=progress.watch,
            )
            without_times(prefix)
            progress.finish()
            tell(Phase.CHECKING)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def check(
        self,
        content: bytes,
        interpreter: Interpreter | None,
        rules: Rules,
        *,
        prefix: Path,
        cache: Path,
    ) -> None:
        """Compare what packages say that they need with what is there; see `Engine.check`.

        Raises:
            EnvironmentFailed: they do not go together, and their definition does not mean it so.
        """
        if chosen_of(content, _required(interpreter)).said.get("consistent", True):
            python = str(prefix / "bin" / "python")
            command = ["pip", "check", "--no-config", "--python", python]
            _checked(self._tool(rules, cache), command, prefix.parent, rules)

    def _resolving(
        self,
        rules: Rules,
        python: Interpreter,
        scratch: Path,
        say: Callable[[str], None],
        *,
        building: bool = False,
    ) -> Resolving:
        scratch.mkdir(parents=True, exist_ok=True)
        # a build script must not reach the cache that other environments are linked from
        cache = scratch / "uv-cache" if building else self._cache
        return Resolving(self._tool(rules, cache), rules, python, scratch, say, building)

    def _tool(self, rules: Rules, cache: Path | None) -> Tool:
        return Tool(self.program, rules, cache, self._sandbox)


OVERRIDES = ("override-dependencies", "exclude-dependencies", "dependency-metadata")
"""Settings by which a definition contradicts what packages say, and means it."""

_EMPTY: Document = {"lock-version": "1.0", "created-by": "element"}


def _resolved_somehow(
    wheels_only: Resolving,
    building: Resolving,
    found: Found,
    earlier: Document | None,
    *,
    upgrade: bool,
) -> tuple[Document, bool]:
    """Resolve without building anything; only where that fails for what may be built, with.

    Says, too, whether build scripts may have run.
    """
    if not _names_sources(found.definition):
        try:
            return _resolved(wheels_only, found, earlier, upgrade=upgrade), False
        except EnvironmentFailed as failed:
            if not _may_be_had_by_building(failed.failure, wheels_only.rules):
                raise
    return _resolved(building, found, earlier, upgrade=upgrade), True


def _names_sources(definition: Definition) -> bool:
    """Whether a definition names a repository, or an archive that is no wheel."""
    return any(
        each.kind is OriginKind.VCS
        or (each.kind is OriginKind.URL and not urlsplit(each.location).path.endswith(".whl"))
        for each in definition.origins
        if each.location.count("/") > 2  # else it is the server of a lock's files
    )


def _may_be_had_by_building(failure: Failure, rules: Rules) -> bool:
    named = [each.location for each in failure.origins if each.kind is OriginKind.SDIST]
    return bool(named) and all(may_be_built(each, rules) for each in named)


def _resolved(
    resolving: Resolving, found: Found, earlier: Document | None, *, upgrade: bool
) -> Document:
    """Return the lock of what a definition itself asks for, as uv or a person wrote it."""
    definition = found.definition
    own = definition.lock_path or (definition.entry if definition.kind is Kind.PYLOCK else "")
    if own.endswith(".toml") and (definition.kind is Kind.PYLOCK or not upgrade):
        document = lockfile.read(found.contents[own], own)
        meaning = lockfile.ours(document).get("meaning")
        if definition.kind is Kind.PYLOCK or meaning in {None, definition.meaning}:
            return document
        resolving.say(f"{own} is older than {definition.path}; its versions are kept.")
        earlier = document
    if definition.kind is Kind.PYPROJECT or own_settings(found):
        return resolving.universal(found, preferred=earlier, upgrade=upgrade)
    if definition.kind in {Kind.REQUIREMENTS, Kind.INLINE}:
        return resolving.compiled(found, preferred=earlier, upgrade=upgrade)
    raise EnvironmentFailed(
        Failure(
            code=FailureCode.INTERNAL,
            title="uv does not know such definitions",
            summary=f"{definition.path} is a {definition.kind} definition, not uv's.",
        )
    )


def _required(interpreter: Interpreter | None) -> Interpreter:
    if interpreter is None:
        raise ValueError("a Python environment needs an interpreter")
    return interpreter


def _is_lock(path: str | None) -> bool:
    """Whether a person's lock says where files are; requirements with hashes do not."""
    return path is not None and path.endswith((".lock", ".toml"))


def _tells(line: str) -> bool:
    """Whether a line of uv's is news: not where it works, nor each package it has installed."""
    return bool(line.strip()) and not line.startswith(("Using ", " + ", "Creating "))


def _with_indexes(packages: Sequence[Document], rules: Rules) -> list[Document]:
    """Return packages with the index that each comes from, where a file's server tells it.

    A wheel that is in uv's cache is found without asking a server only where its index is known.
    """
    indexes = {
        host: plain_index(each)
        for each in reversed(rules.index_urls)
        for host in hosts_of_files(plain_index(each))
    }
    placed = []
    for package in packages:
        files = package.get("wheels", [])
        index = indexes.get(host_of(str(files[0].get("url", "")))) if files else None
        placed.append({"index": index} | package if index else package)
    return placed


def _index_arguments(
    packages: Sequence[Document], named: Mapping[str, str], rules: Rules
) -> list[str]:
    """Return the indexes that packages come from, each with the name that has its credentials."""
    names = {url: f"{name}={url}" for name, url in named.items()}
    names |= {plain_index(each): each for each in rules.index_urls}
    used = sorted({str(each["index"]) for each in packages if "index" in each})
    return [word for each in used for word in ("--index", names.get(each, each))]


def _readable(previous: bytes) -> Document | None:
    """Return an earlier lock to take versions from; one that is damaged has none to give."""
    try:
        return lockfile.read(previous)
    except EnvironmentFailed:
        return None


def _chosen(document: Document, definition: Definition, target: Target) -> Sequence[Document]:
    """Return the packages of a lock for the extras and groups of a definition.

    A lock that has some of its own keeps what is chosen of them only.
    """
    if not document.get("extras") and not document.get("dependency-groups"):
        return list(document["packages"])
    groups = definition.groups or None
    return lockfile.reduced(
        lockfile.select(document, target, extras=definition.extras, groups=groups)
    )


def _requires_python(document: Mapping[str, Any], python: Interpreter) -> str:
    """Return what a lock holds for: what a person's says, or the minor version it was made for."""
    said = document.get("requires-python")
    if document.get("created-by") == "uv" and said == f">={python.version}":
        return "==" + ".".join(python.version.split(".")[:2]) + ".*"
    return str(said or "")


def _sources(
    selected: Sequence[tuple[Package, Source]], definition: Definition, rules: Rules
) -> list[tuple[Package, Source]]:
    """Return what has to be built, all of which may be.

    Raises:
        EnvironmentFailed: something else has to be; `no_wheel`.
    """
    sources = [each for each in selected if is_built(each[1])]
    # whoever trusts a repository or an archive trusts its build scripts too
    refused = [
        str(package.name)
        for package, source in sources
        if isinstance(source, PackageSdist) and not may_be_built(package.name, rules)
    ]
    if not refused:
        return sources
    name = refused[0]
    raise EnvironmentFailed(
        Failure(
            code=FailureCode.NO_WHEEL,
            title="A package has no wheel",
            summary=f"{', '.join(refused)} has no wheel for this machine, only source, and building"
            " it would run its code.",
            hints=(
                f"Ask for a version of {name} that has a wheel for this Python and platform.",
                f"Or have the administrator add {name} to Element.allowed_builds.",
            ),
            culprits=tuple(each for each in definition.requirements if each.name in refused),
            origins=tuple(Origin(kind=OriginKind.SDIST, location=each) for each in refused),
        )
    )


def _checked(
    tool: Tool, arguments: Sequence[str], directory: Path, rules: Rules, **options: Any
) -> None:
    said = tool.run(arguments, directory=directory, **options)
    if said.code:
        raise EnvironmentFailed(explain(said.text, rules=rules))
