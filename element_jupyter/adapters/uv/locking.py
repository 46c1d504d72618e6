"""Resolving a definition with `uv`, in a scratch copy of its files.

The commands, and what they leave to be done here:

    requirements, inline   uv pip compile    takes no notice of hashes that a person has written
    pyproject.toml, and    uv lock, export   builds a project whose version is dynamic, whatever
    inline with settings                     it is told
    the kernel's packages  uv pip compile    with what was resolved before as constraints
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import tomlkit

from element_jupyter.adapters.uv import lockfile
from element_jupyter.adapters.uv.building import read_plainly
from element_jupyter.adapters.uv.failures import explain
from element_jupyter.adapters.uv.hashes import hold_to_hashes
from element_jupyter.adapters.uv.lockfile import Document
from element_jupyter.adapters.uv.origins import FILE_HOSTS, plain_index, same_index
from element_jupyter.adapters.uv.process import Said, Tool
from element_jupyter.adapters.uv.projects import made_static, own_settings, plain_script
from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Rules,
)
from element_jupyter.core.environments.definitions import (
    Definition,
    Found,
    Kind,
    Origin,
    OriginKind,
)
from element_jupyter.core.environments.identity import Interpreter

KERNEL: Final = "ipykernel"
"""What a kernel is; it brings along what it needs."""

_SETTINGS: Final = (
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "resolution",
    "prerelease",
    "prerelease-package",
    "exclude-newer",
    "exclude-newer-package",
    "fork-strategy",
)
"""Of `[tool.uv]`, what is taken over: nothing that names paths, programs or hosts to believe.

What uv reads from the project itself (`sources`, `constraint-dependencies`, `conflicts`, …) needs
no taking over.
"""


@dataclass(frozen=True)
class Resolving:
    """One definition being resolved for one interpreter; `scratch` is a directory of its own.

    `building` lets sources be built, in the sandbox: of any package, since uv cannot be told of
    some; which of them are in the result is for the caller to look at.
    """

    tool: Tool
    rules: Rules
    interpreter: Interpreter
    scratch: Path
    say: Callable[[str], None]
    building: bool = False

    # ---------------------------------------------------------------------------------- commands

    def compiled(
        self, found: Found, *, preferred: Mapping[str, Any] | None, upgrade: bool
    ) -> Document:
        """Resolve requirement files or an inline definition.

        Raises:
            EnvironmentFailed: they cannot be resolved.
        """
        definition = found.definition
        directory = self._copy(found)
        document = self._compile(
            [PurePosixPath(definition.entry).name],
            directory,
            definition,
            preferred=preferred,
            upgrade=upgrade,
            indexes=not _names_default_index(found),
        )
        hold_to_hashes(document, found)
        return document

    def kernel(
        self, constraints: Mapping[str, str], definition: Definition, preferred: Document | None
    ) -> Document:
        """Resolve the kernel's packages beside the versions that are decided already.

        Raises:
            EnvironmentFailed: no kernel goes with these.
        """
        directory = self.scratch / "kernel"
        directory.mkdir()
        (directory / "kernel.in").write_text(f"{KERNEL}\n")
        lines = [f"{name}=={version}\n" for name, version in sorted(constraints.items())]
        (directory / "constraints.txt").write_text("".join(lines))
        return self._compile(
            ["kernel.in", "--constraints", "constraints.txt"],
            directory,
            definition,
            preferred=preferred,
            kernel=True,
        )

    def universal(
        self, found: Found, *, preferred: Mapping[str, Any] | None, upgrade: bool
    ) -> Document:
        """Resolve what has settings of its own: a project, from its `uv.lock`, or a script.

        `preferred` has versions to keep, where there is no `uv.lock` to say so.

        Raises:
            EnvironmentFailed: it cannot be resolved.
        """
        definition = found.definition
        home = self._copy(found)
        script = ["--script", PurePosixPath(definition.entry).name]
        script = script if definition.kind is Kind.INLINE else []
        made_static(self.scratch / _FILES, found)
        settings = self.scratch / "uv.toml"
        settings.write_text(self._settings(own_settings(found), dated=not definition.lock_path))
        common = [
            *("--config-file", str(settings)),
            *("--python", self._python),
            *("--no-python-downloads", "--keyring-provider", self._keyring()),
            *("--index-strategy", "first-index"),
            *(["--offline"] if self.rules.offline else []),
            *script,
        ]
        building = [] if self.building else ["--no-build"]
        fresh = bool(definition.lock_path) and not upgrade
        if preferred is not None and not definition.lock_path and not upgrade:
            lock = home / (f"{script[1]}.lock" if script else "uv.lock")
            index = plain_index(self.rules.index_urls[-1]) if self.rules.index_urls else ""
            lock.write_bytes(lockfile.uv_preferences(preferred, index))
        if not fresh or self._is_stale(home, common, building, definition):
            self._checked(
                ["lock", *common, *building, *(["--upgrade"] if upgrade else [])], home, definition
            )
        chosen = [
            "--no-default-groups",
            *(word for each in definition.extras for word in ("--extra", each)),
            *(word for each in definition.groups for word in ("--group", each)),
        ]
        output = self.scratch / _OUTPUT
        self._checked(
            [
                *("export", "--frozen", *common, *([] if script else chosen)),
                *("--no-emit-local", "--no-header", "--format", "pylock.toml"),
                *("--preview-features", "pylock", "--output-file", str(output)),
            ],
            home,
            definition,
        )
        return lockfile.read(
            read_plainly(output, self.scratch), definition.lock_path or definition.path
        )

    def built(self, packages: Sequence[Document], definition: Definition) -> Path:
        """Build packages from their source; return the cache of uv's that has the wheels then.

        Raises:
            EnvironmentFailed: one cannot be built.
        """
        # what ran while it was resolved may have left links under any name that it could guess
        directory = Path(tempfile.mkdtemp(dir=self.scratch))
        cache = directory / "uv-cache"
        (directory / _OUTPUT).write_bytes(lockfile.written(packages))
        anew = replace(self, tool=replace(self.tool, cache=cache), scratch=directory)
        anew._checked(  # noqa: SLF001 - of this very class
            [
                *("pip", "install", "--requirements", _OUTPUT, "--no-deps"),
                *("--target", str(directory / "target")),
                *("--preview-features", "pylock", "--no-config"),
                *("--python", self._python, "--no-python-downloads"),
                *("--keyring-provider", "disabled", "--index-strategy", "first-index"),
                *self._sources(replace_default=True),
            ],
            directory,
            definition,
        )
        return cache

    # ------------------------------------------------------------------------------------- inside

    def _compile(
        self,
        inputs: Sequence[str],
        directory: Path,
        definition: Definition,
        *,
        preferred: Mapping[str, Any] | None,
        upgrade: bool = False,
        indexes: bool = True,
        kernel: bool = False,
    ) -> Document:
        output = self.scratch / ("kernel" if kernel else "definition") / _OUTPUT
        output.parent.mkdir(exist_ok=True)
        if preferred is not None and not upgrade:
            output.write_bytes(lockfile.preferences(preferred))
        building = [] if self.building else ["--only-binary", ":all:"]
        self._checked(
            [
                *("pip", "compile", *inputs, *building),
                *("--format", "pylock.toml", "--output-file", str(output)),
                *("--preview-features", "pylock", "--no-config", "--no-header", "--no-annotate"),
                *("--python", self._python, "--no-python-downloads"),
                *("--keyring-provider", self._keyring(), "--index-strategy", "first-index"),
                *self._sources(replace_default=indexes),
                *(["--upgrade"] if upgrade else []),
            ],
            directory,
            definition,
            kernel=kernel,
        )
        if not output.exists():  # nothing to resolve, nothing written
            return {"lock-version": "1.0", "created-by": "uv", "packages": []}
        return lockfile.read(read_plainly(output, self.scratch), definition.path)

    def _checked(
        self, arguments: list[str], directory: Path, definition: Definition, *, kernel: bool = False
    ) -> None:
        said = self._run(arguments, directory, definition, self.say)
        if said.code:
            raise EnvironmentFailed(
                explain(said.text, definition=definition, rules=self.rules, kernel=kernel)
            )

    def _run(
        self,
        arguments: list[str],
        directory: Path,
        definition: Definition,
        on_line: Callable[[str], None] | None = None,
    ) -> Said:
        return self.tool.run(
            arguments,
            directory=directory,
            on_line=on_line,
            writable=[directory, self.scratch] if self.building else None,
            readable=readable(self.interpreter, self.tool.program, self.rules),
            hosts=hosts(definition.origins, self.rules),
        )

    @property
    def _python(self) -> str:
        """The interpreter; in the sandbox by its true place, beside which is nothing else."""
        path = self.interpreter.path
        return str(Path(path).resolve()) if self.building else path

    def _is_stale(
        self, home: Path, common: list[str], building: list[str], definition: Definition
    ) -> bool:
        """Whether a person's `uv.lock` does not fit the project any more; then says so."""
        said = self._run(["lock", "--check", *common, *building], home, definition)
        if said.code == 0:
            return False
        if "needs to be updated" in said.text or "--check" in said.text:
            self.say(
                f"{definition.lock_path} is older than {definition.path}; it was brought up to date"
                " for this environment only. `element env lock` writes it."
            )
            return True
        raise EnvironmentFailed(explain(said.text, definition=definition, rules=self.rules))

    def _copy(self, found: Found) -> Path:
        """Write the definition's files, to which no one's own are ever a link.

        Returns where the one is from which to start.
        """
        top = self.scratch / _FILES
        for path, content in found.contents.items():
            target = top / PurePosixPath(path)
            if ".." in target.parts or not target.is_relative_to(top):
                raise ValueError(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            inline = found.definition.kind is Kind.INLINE and path == found.definition.entry
            target.write_bytes(plain_script(found, _SETTINGS) if inline else content)
        return top / PurePosixPath(found.definition.entry).parent

    def _sources(self, *, replace_default: bool) -> list[str]:
        """Return the deployment's indexes as arguments, the most trusted first."""
        *others, last = self.rules.index_urls or ("",)
        words = [word for each in others for word in ("--index", each)]
        if replace_default:
            words += ["--default-index", last] if last else ["--no-index"]
        words += [word for each in self.rules.find_links for word in ("--find-links", each)]
        if self.rules.exclude_newer:
            words += ["--exclude-newer", self.rules.exclude_newer]
        return [*words, "--offline"] if self.rules.offline else words

    def _settings(self, tool: Mapping[str, Any], *, dated: bool) -> str:
        """Return settings for uv: what a definition may set itself, then the deployment's.

        Not `dated` is one with a lock of its own, which a date would make stale.
        """
        settings: dict[str, Any] = {key: tool[key] for key in _SETTINGS if key in tool}
        indexes = list(settings.pop("index", []))
        indexes += [{"url": each} for each in settings.pop("extra-index-url", [])]
        if "index-url" in settings:
            indexes.append({"url": settings.pop("index-url"), "default": True})
        indexes = _in_their_order(indexes, self.rules)
        own = [_named(each) for each in self.rules.index_urls]
        if own and not any(each.get("default") for each in indexes):
            own[-1]["default"] = True
        elif own:  # the definition's own default takes the place of the deployment's
            own.pop()
        # a definition that names its own indexes means them: they are asked first, as uv does
        settings["index"] = [*indexes, *own]
        settings["find-links"] = [*settings.get("find-links", []), *self.rules.find_links]
        if dated and self.rules.exclude_newer and "exclude-newer" not in settings:
            settings["exclude-newer"] = self.rules.exclude_newer
        return tomlkit.dumps({key: value for key, value in settings.items() if value != []})

    def _keyring(self) -> str:
        wanted = self.rules.variables.get("UV_KEYRING_PROVIDER", "disabled")
        return wanted if wanted in {"disabled", "subprocess"} else "disabled"


_FILES: Final = "files"
_OUTPUT: Final = "pylock.toml"


def readable(interpreter: Interpreter, program: Path, rules: Rules) -> list[Path]:
    """Return what a build has to see: the interpreter, `uv`, and wheels that are offered here."""
    links = [Path(each) for each in rules.find_links if "://" not in each]
    return [Path(interpreter.path).resolve().parents[1], program, *links]


def hosts(origins: Iterable[Origin], rules: Rules) -> list[str]:
    """Return the places that a build may talk to: the indexes, and the origins of a definition."""
    urls = [plain_index(each) for each in rules.index_urls]
    urls += [each for each in rules.find_links if "://" in each]
    urls += [each.location for each in origins if "://" in each.location]
    known = [
        f"https://{host}"
        for index, files in FILE_HOSTS.items()
        for host in files
        if any(f"//{index}/" in f"{each}/" for each in urls)
    ]
    return list(dict.fromkeys([*urls, *known]))


def _named(entry: str) -> dict[str, Any]:
    url = plain_index(entry)
    return {"url": url} if url == entry else {"name": entry.partition("=")[0], "url": url}


def _in_their_order(indexes: list[Any], rules: Rules) -> list[Any]:
    """Return the indexes of a definition, of which the deployment's own are not asked sooner.

    Else the public one, named again, would be asked before the company's, for all that this has.
    """
    own = [plain_index(each) for each in rules.index_urls]
    kept = []
    for each in indexes:
        url = str(each.get("url", "")) if isinstance(each, dict) else ""
        if not any(same_index(url, one) for one in own) or each.get("default"):
            kept.append(each)
        elif "name" in each:  # for `[tool.uv.sources]`
            kept.append({"name": each["name"], "url": url, "explicit": True})
    return kept


def _names_default_index(found: Found) -> bool:
    """Whether a requirement file or an inline definition brings its own default index."""
    if not any(each.kind is OriginKind.INDEX for each in found.definition.origins):
        return False
    lines = re.compile(rb"^\s*(?:-i|--index-url)[ =]", re.MULTILINE)
    return any(lines.search(content) for content in found.contents.values())
