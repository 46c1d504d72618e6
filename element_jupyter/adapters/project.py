"""The project on disk: where its root is, which of its files count, and what is in them.

With git, the files are those that git tracks plus the untracked ones that it does not ignore;
submodules and repositories inside are listed the same way. Without git (no repository, no binary,
or a repository that git refuses) the tree is walked and every `.gitignore` in it honoured. In
both, `.elementignore` of the root (gitignore syntax) takes files away, or with `!` gives ignored
ones back, and what `NEVER_TAKEN` names (`.git`, `.ipynb_checkpoints`, `__pycache__`, `.venv`,
`node_modules`) and virtual environments by any name are left out unless git tracks them. Empty
directories are not kept.

The home directory and `/` are never a project: there only the visible files directly in them are
taken, so that a notebook saved in the home directory does not carry `~/.ssh` along.

Reading is done in threads: hashing and reading release the interpreter.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec
from pydantic import ValidationError

from element_jupyter.core import readings
from element_jupyter.core.environments.definitions import DEFINITION_FILES
from element_jupyter.core.errors import Conflict, Invalid
from element_jupyter.core.readings import Reading, Stamp
from element_jupyter.core.snapshots import (
    IGNORE_FILE,
    NEVER_TAKEN,
    PATH_DEPTH,
    Entry,
    Manifest,
    SnapshotLimits,
    fault_of_path,
)

CHUNK_BYTES = 1 << 20
BATCH_FILES = 32
WORKERS = min(4, os.cpu_count() or 1)
ATTEMPTS = 3
RULES_BYTES = 64_000

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes to read."""


@dataclass(frozen=True)
class Scan:
    """A project's manifest, where to read each blob, and what a person should know."""

    manifest: Manifest
    sources: Mapping[str, Path]
    warnings: tuple[str, ...]


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


def scan(
    root: Path,
    *,
    limits: SnapshotLimits | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    reread: bool = False,
) -> Scan:
    """Read a project's files, only those that changed since the last scan of the same root.

    What was read last is remembered in a file below `cache` (default `~/.cache/element`); if it is
    damaged or gone, or with `reread`, everything is read.

    Raises:
        Invalid: a file that cannot be in a snapshot, or keeps changing; named.
        Conflict: a file went away meanwhile; scan again.
        TooLarge: over a limit; found before any content is read.
    """
    root = root.resolve()
    if not root.is_dir():
        raise Invalid(f"There is no directory '{root}'.", field="root")
    limits = limits or SnapshotLimits()
    names, warnings = _list(root)
    for name in names:
        if fault := fault_of_path(name):
            raise _refused(name, fault)
    stats = _stat(root, names)
    links = {path: _target(root, path) for path, s in stats.items() if stat.S_ISLNK(s.st_mode)}
    files = {path: s for path, s in stats.items() if path not in links}
    warnings += limits.check_sizes({path: s.st_size for path, s in files.items()})
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
    index = (cache or Path.home() / ".cache" / "element") / "snapshots" / name
    known = {} if reread else _known(index)
    read = _read_all(root, files, known, progress)
    if read != known:
        _remember(index, read)

    entries: list[Entry] = []
    sources: dict[str, Path] = {}
    for path, target in links.items():
        with _valid(path):
            entries.append(Entry.of_link(path, target))
    for path, (stamp, digest) in read.items():
        executable = bool(files[path].st_mode & stat.S_IXUSR)
        with _valid(path):
            entries.append(
                Entry(path=path, digest=digest, size_bytes=stamp.size_bytes, executable=executable)
            )
        sources.setdefault(digest, root / path)
    with _valid("."):
        manifest = Manifest(entries=tuple(entries))
    warnings += manifest.remarks()
    return Scan(manifest, sources, tuple(warnings))


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
        return _without_environments(_walk(root, "", [_DEFAULT], ("", _spec(rules)))), []
    git = shutil.which("git")
    # git would go on to a repository further up if this one is broken
    if git is not None and _git(git, root, "rev-parse", "--show-prefix") in (b"", b"\n"):
        return _list_git(git, root, rules)
    names = _without_environments(_walk(root, "", [_DEFAULT], ("", _spec(rules))))
    return names, ["git does not answer: what .gitignore names is left out even if it is tracked."]


def _rules(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(path.name, error) from error
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
    for name in (*tracked, *_without_environments(untracked)):
        inner = root / name
        if not inner.is_dir() or inner.is_symlink():
            names.append(name)
        elif os.path.lexists(inner / ".git"):
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
            raise _not_a_file(path)


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
        raise _unreadable(below or ".", error) from error
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
            status = os.lstat(root / name)
        except FileNotFoundError:
            continue  # tracked and deleted
        except OSError as error:
            raise _unreadable(name, error) from error
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise _not_a_file(name)
        found[name] = status
    return found


def _target(root: Path, path: str) -> str:
    try:
        target = (root / path).readlink()
    except OSError as error:
        raise _changed(path) from error
    if target.is_absolute() and target.is_relative_to(root) and ".." not in target.parts:
        # it stays inside, so it may move along with the project
        return os.path.relpath(target, (root / path).parent)
    return str(target)


# Reading


def _read_all(
    root: Path,
    files: dict[str, os.stat_result],
    known: dict[str, Reading],
    progress: Progress | None,
) -> dict[str, Reading]:
    now = time.time()
    read: dict[str, Reading] = {}
    todo: list[str] = []
    for path, status in files.items():
        stamp, record = Stamp.of(status), known.get(path)
        if record is None or record.stamp != stamp or stamp.is_racy(now):
            todo.append(path)
        else:
            read[path] = record
    total = sum(files[path].st_size for path in todo)
    done = 0
    lock = threading.Lock()

    def advance(size_bytes: int) -> None:
        nonlocal done
        if progress is not None:
            with lock:
                done += size_bytes
                progress(done, total)

    def read_batch(paths: list[str]) -> list[tuple[str, Reading]]:
        return [(path, _read(root, path, advance)) for path in paths]

    batches = [todo[i : i + BATCH_FILES] for i in range(0, len(todo), BATCH_FILES)]
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="snapshot") as pool:
        futures = [pool.submit(read_batch, batch) for batch in batches]
        try:
            for future in futures:
                read.update(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return read


def _read(root: Path, path: str, advance: Callable[[int], None]) -> Reading:
    for _ in range(ATTEMPTS):
        hasher = hashlib.sha256()
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(root / path, flags), "rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                if not stat.S_ISREG(before.st_mode):
                    raise _not_a_file(path)
                while chunk := file.read(CHUNK_BYTES):
                    hasher.update(chunk)
                    advance(len(chunk))
                after = os.fstat(file.fileno())
        except FileNotFoundError as error:
            raise _changed(path) from error
        except OSError as error:
            raise _unreadable(path, error) from error
        if Stamp.of(before) == Stamp.of(after):
            return Reading(Stamp.of(after), hasher.hexdigest())
    raise Invalid(
        f"'{path}' keeps changing while it is read.",
        f"Stop what writes it, or name it in {IGNORE_FILE}.",
    )


def _known(path: Path) -> dict[str, Reading]:
    try:
        return readings.decode(path.read_bytes())
    except OSError:
        return {}


def _remember(path: Path, read: dict[str, Reading]) -> None:
    partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
            file.write(readings.encode(read, time.time()))
        partial.replace(path)
    except OSError:
        # a cache that cannot be written (a read-only home, a full quota) costs time only
        with suppress(OSError):
            partial.unlink()


# Refusing


def _unreadable(path: str, error: OSError) -> Invalid:
    return Invalid(
        f"'{path}' cannot be read: {error.strerror}.",
        f"Make it readable, or name it in {IGNORE_FILE}.",
        field=path,
    )


def _changed(path: str) -> Conflict:
    return Conflict(f"'{path}' has changed while the project was read.", "Try again.", field=path)


def _not_a_file(path: str) -> Invalid:
    return Invalid(
        f"'{path}' is a device, socket or pipe, which a snapshot cannot hold.",
        f"Remove it, or name it in {IGNORE_FILE}.",
        field=path,
    )


def _refused(path: str, fault: str) -> Invalid:
    return Invalid(
        f"{path!r} cannot be in a snapshot: {fault}.",
        f"Rename or remove it, or name it in {IGNORE_FILE}.",
        field=ascii(path)[1:-1],
    )


@contextmanager
def _valid(path: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise _refused(path, fault.removeprefix("Value error, ")) from None
