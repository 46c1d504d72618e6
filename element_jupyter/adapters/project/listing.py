"""Where a project's root is, and which of its files count."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pathspec import GitIgnoreSpec

from element_jupyter.adapters.project.refusals import (
    changed,
    naming,
    not_a_file,
    refused,
    unreadable,
)
from element_jupyter.core.environments.definitions import DEFINITION_FILES
from element_jupyter.core.errors import Invalid, TooLarge
from element_jupyter.core.snapshots import (
    IGNORE_FILE,
    MANIFEST_ENTRIES,
    NEVER_TAKEN,
    PATH_DEPTH,
    SMALLER_HINT,
    Entry,
    Manifest,
    fault_of_path,
)

RULES_BYTES = 64_000


@dataclass(frozen=True)
class Listing:
    """What a snapshot would be made of, by path, before any of it is read."""

    root: Path
    files: Mapping[str, os.stat_result]
    links: Mapping[str, Entry]
    warnings: tuple[str, ...]
    is_broad: bool
    """Whether it is the home directory or `/`."""

    @property
    def sizes(self) -> dict[str, int]:
        return {path: status.st_size for path, status in self.files.items()}


def find_root(notebook: Path) -> Path:
    """Return the nearest directory upwards that holds `.git`, else one with a definition file.

    Where neither is found, it is the notebook's own. The climb ends below the home directory, at
    `/`, at another file system, and at a directory where anybody may create files (`/tmp`): a
    repository there belongs to somebody else's intent.
    """
    start = notebook.absolute().parent.resolve()
    home = Path.home().resolve()
    try:
        device = start.stat().st_dev
    except OSError as error:
        raise Invalid(f"There is no directory '{start}'.", field="notebook") from error
    defining: Path | None = None
    for directory in (start, *start.parents):
        status = directory.stat()
        open_to_all = status.st_mode & stat.S_ISVTX and status.st_mode & stat.S_IWOTH
        if _is_broad(directory, home) or status.st_dev != device or open_to_all:
            break
        if os.path.lexists(directory / ".git"):
            return directory
        if defining is None and any((directory / name).is_file() for name in DEFINITION_FILES):
            defining = directory
    return defining or start


def look(root: Path) -> Listing:
    """List a project's files, reading none of them; no set limit is checked.

    Raises:
        Invalid: a file that cannot be in a snapshot; named.
        TooLarge: more files than a manifest may have.
        Conflict: a file changed meanwhile; look again.
    """
    root = root.resolve()
    if not root.is_dir():
        raise Invalid(f"There is no directory '{root}'.", field="root")
    names, warnings = _list(root)
    for name in names:
        if fault := fault_of_path(name):
            raise refused(name, fault)
    files, links = {}, {}
    for path, status in _stat(root, names).items():
        if not stat.S_ISLNK(status.st_mode):
            files[path] = status
            continue
        with naming(path):
            links[path] = Entry.of_link(path, _target(root, path))
    with naming("."):
        Manifest(entries=tuple(links.values()))
    is_broad = _is_broad(root, Path.home().resolve())
    return Listing(root, files, links, tuple(warnings), is_broad)


def _is_broad(directory: Path, home: Path) -> bool:
    return directory == home or directory in home.parents or directory.parent == directory


# Listing


def _list(root: Path) -> tuple[list[str], list[str]]:
    if _is_broad(root, Path.home().resolve()):
        visible = (entry for entry in os.scandir(root) if not entry.name.startswith("."))
        names = [entry.name for entry in visible if entry.is_file(follow_symlinks=False)]
        warning = (
            f"'{root}' is too broad to be a project: only the visible files directly in it are "
            "taken. Move the notebook into a directory of its own to take more along."
        )
        return names, [warning]
    rules = _rules(root / IGNORE_FILE)
    if not os.path.lexists(root / ".git"):
        return _without_environments(_bounded(_walk(root, "", [_DEFAULT], ("", _spec(rules))))), []
    git = shutil.which("git")
    # git would go on to a repository further up if this one is broken
    if git is not None and _git(git, root, "rev-parse", "--show-prefix") in (b"", b"\n"):
        return _list_git(git, root, rules)
    names = _without_environments(_bounded(_walk(root, "", [_DEFAULT], ("", _spec(rules)))))
    return names, ["git does not answer: what .gitignore names is left out even if it is tracked."]


def _rules(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):
        return []
    except OSError as error:
        raise unreadable(path.name, error) from error
    if "\0" in text or len(text) > RULES_BYTES:
        raise Invalid(f"'{path.name}' is not a list of patterns of at most {RULES_BYTES} bytes.")
    lines = (re.sub(r"(?<!\\)[ \r]+$", "", line) for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _list_git(git: str, root: Path, rules: list[str]) -> tuple[list[str], list[str]]:
    spec = _spec(rules)
    own = [f"--exclude={rule}" for rule in rules]
    tracked = _names(git, root, "--cached")
    if own:
        excluded = {*_names(git, root, "--cached", "--ignored", *own)}
        tracked = [name for name in tracked if name not in excluded]
    # patterns on the command line go before those of .gitignore, so `!` can give files back
    never = [f"--exclude={name}" for name in NEVER_TAKEN]
    untracked = _names(git, root, "--others", "--exclude-standard", *never, *own)
    names: list[str] = []
    warnings: list[str] = []
    for name in _bounded((*tracked, *_without_environments(untracked))):
        if not _is_directory(f"{root}/{name}"):
            names.append(name)
            continue
        inner = root / name
        if os.path.lexists(inner / ".git"):
            # a submodule, or a repository that the project ignores nothing of
            inside, said = _list_git(git, inner, _rules(inner / IGNORE_FILE))
            paths = (f"{name.rstrip('/')}/{path}" for path in inside)
            names += [path for path in paths if not spec.match_file(path)]
            warnings += said
        elif not name.endswith("/"):
            warnings.append(
                f"The submodule '{name}' is not checked out, so its files are not in the snapshot."
            )
    _refuse_special(git, root, names, spec)
    return names, warnings


def _bounded(names: Iterable[str]) -> list[str]:
    listed = list(islice(names, MANIFEST_ENTRIES + 1))
    if len(listed) > MANIFEST_ENTRIES:
        raise TooLarge(f"The project has more than {MANIFEST_ENTRIES} files.", SMALLER_HINT)
    return listed


def _is_directory(path: str) -> bool:
    # paths as texts: there are thousands, and making objects of them takes as long as looking
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _without_environments(names: Iterable[str]) -> list[str]:
    """Leave out virtual environments, whatever their directory is called."""
    listed = list(names)
    marker = "/pyvenv.cfg"
    found = tuple(name[: -len(marker)] + "/" for name in listed if name.endswith(marker))
    return [name for name in listed if not name.startswith(found)] if found else listed


def _names(git: str, root: Path, *options: str) -> list[str]:
    answer = _git(git, root, "ls-files", "-z", *options)
    if answer is None:
        raise Invalid(f"git cannot list the files of '{root}'.", "Try `git status` there.")
    # a path in a merge conflict is listed once per side
    return list(dict.fromkeys(os.fsdecode(name) for name in answer.split(b"\0") if name))


def _git(git: str, root: Path, *arguments: str) -> bytes | None:
    """Return what git prints, None if it fails; it runs nothing that the repository names."""
    outer = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
    done = subprocess.run(
        [git, "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        # a hook that calls us must not make git look at another repository than the project's
        env={
            **{name: value for name, value in os.environ.items() if name not in outer},
            "GIT_OPTIONAL_LOCKS": "0",
            "LC_ALL": "C",
        },
    )
    if b"could not open directory" in done.stderr:
        raise Invalid(
            f"A directory cannot be read: {done.stderr.decode(errors='replace').strip()}.",
            f"Make it readable, or name it in {IGNORE_FILE}.",
        )
    return done.stdout if done.returncode == 0 else None


def _refuse_special(git: str, root: Path, names: Iterable[str], spec: GitIgnoreSpec) -> None:
    """Refuse sockets and the like beside the files: git passes over them in silence."""
    special = []
    for directory in {"", *(name.rpartition("/")[0] for name in names)}:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / directory) as found:
            for entry in found:
                path = f"{directory}/{entry.name}".lstrip("/")
                plain = entry.is_symlink() or entry.is_dir() or entry.is_file()
                if not plain and not spec.match_file(path):
                    special.append(path)
    for path in special:
        if _git(git, root, "check-ignore", "-q", "--", path) is None:
            raise not_a_file(path)


Rules = tuple[str, GitIgnoreSpec]
"""The directory that the patterns are relative to, with a slash at the end unless empty."""

_DEFAULT: Rules = ("", GitIgnoreSpec.from_lines(NEVER_TAKEN))


def _walk(root: Path, below: str, ignores: list[Rules], own: Rules) -> Iterator[str]:
    if below.count("/") >= PATH_DEPTH:
        raise Invalid(f"'{below}' is more than {PATH_DEPTH} directories deep.", field=below)
    try:
        with os.scandir(root / below) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(below or ".", error) from error
    if any(entry.name == ".gitignore" and entry.is_file() for entry in entries):
        ignores = [*ignores, (below, _spec(_rules(root / below / ".gitignore")))]
    for entry in entries:
        directory = entry.is_dir(follow_symlinks=False)
        path = f"{below}{entry.name}" + ("/" if directory else "")
        if entry.name == ".git" or _is_ignored(path, [*ignores, own]):
            continue
        if directory:
            yield from _walk(root, path, ignores, own)
        else:
            yield path


def _is_ignored(path: str, ignores: list[Rules]) -> bool:
    for base, spec in reversed(ignores):
        verdict = spec.check_file(path[len(base) :]).include
        if verdict is not None:
            return verdict
    return False


def _spec(rules: list[str]) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(rules)
    except ValueError as error:
        raise Invalid(f"A pattern of {IGNORE_FILE} or .gitignore is not valid: {error}.") from error


# Looking


def _stat(root: Path, names: Iterable[str]) -> dict[str, os.stat_result]:
    """Look at each file that is there; one below a link is not the project's."""
    real: dict[str, bool] = {"": True}

    def is_real(directory: str) -> bool:
        if directory not in real:
            above = directory.rpartition("/")[0]
            try:
                mode = os.lstat(root / directory).st_mode
                real[directory] = is_real(above) and stat.S_ISDIR(mode)
            except OSError:
                real[directory] = False
        return real[directory]

    found = {}
    for name in names:
        if not is_real(name.rpartition("/")[0]):
            continue
        try:
            status = os.lstat(f"{root}/{name}")
        except FileNotFoundError:
            continue  # tracked and deleted
        except OSError as error:
            raise unreadable(name, error) from error
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise not_a_file(name)
        found[name] = status
    return found


def _target(root: Path, path: str) -> str:
    try:
        target = (root / path).readlink()
    except OSError as error:
        raise changed(path) from error
    if target.is_absolute() and target.is_relative_to(root) and ".." not in target.parts:
        # it stays inside, so it may move along with the project
        return os.path.relpath(target, (root / path).parent)
    return str(target)
