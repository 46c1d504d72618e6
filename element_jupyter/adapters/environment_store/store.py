"""`EnvironmentStore`: built environments in a directory, which many processes share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Final

from element_jupyter.adapters.environment_store import holding, publishing
from element_jupyter.adapters.environment_store.build_log import BuildLog
from element_jupyter.adapters.environment_store.building_lock import exclusively, is_held
from element_jupyter.adapters.environment_store.bytecode import BytecodePool, Progress
from element_jupyter.adapters.environment_store.healing import drop_sources
from element_jupyter.adapters.environment_store.layout import Layout, room, safe
from element_jupyter.adapters.environment_store.pruning import Kept, Shelf
from element_jupyter.adapters.environment_store.remembering import Indexed, Memory
from element_jupyter.adapters.environment_store.verifying import verify
from element_jupyter.core.environments.keeping import Holder, Manifest, Verification
from element_jupyter.core.errors import NotFound

SWEPT_AFTER: Final = timedelta(hours=1)
BUILDS_KEPT: Final = timedelta(days=7)
UNUSED_FOR: Final = timedelta(days=30)


class EnvironmentStore:
    """Environments that never change once they are there, and what is known about them.

    Safe with any number of processes and threads at once, and against the death of any at any
    moment; all of it is in files below `root`, on one local file system. After the machine itself
    lost power, what was published in the last moments is to be verified.
    """

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self._memory = Memory(self.layout)
        self._holders = holding.Holders(self.layout)
        self._shelf = Shelf(self.layout, self._holders, self._memory)

    # ------------------------------------------------------------------ definitions and their locks

    def indexed(self, key: str) -> Indexed | None:
        """Return what a definition key has become, if that is remembered."""
        return self._memory.indexed(key)

    def remember(self, key: str, environment_id: str, lock_id: str) -> None:
        """Remember what a definition key has become."""
        self._memory.remember(key, environment_id, lock_id)

    def lock_content(self, lock_id: str) -> bytes | None:
        """Return a lock's bytes; None when they are not there, or damaged."""
        return self._memory.lock_content(lock_id)

    def keep_lock(self, content: bytes) -> str:
        """Keep a lock, and return its id."""
        return self._memory.keep_lock(content)

    # --------------------------------------------------------------------------------- environments

    def get(self, environment_id: str) -> tuple[Manifest, Path] | None:
        """Return an environment that kernels can be started in: a few file reads."""
        directory = self.layout.environment(environment_id)
        manifest = publishing.usable(directory, environment_id)
        return None if manifest is None else (manifest, directory)

    def publish(
        self,
        manifest: Manifest,
        lock: bytes,
        install: Callable[[Path, Path], None],
        check: Callable[[Path], None],
    ) -> Path:
        """Build an environment and show it whole; return where it is.

        `install(prefix, final)` makes it in `prefix`, which is not there yet and will be renamed to
        `final`; `check(prefix)` raises when it is no good. Then every file is compared with the
        records of its package, the distributions with the manifest, and all is made read-only. If
        files differ because the cache's do, those go, and both are called once more.

        A usable environment that is there already is returned as it is, a damaged one is replaced.
        Several may publish the same at once, and one wins; `building` spares the others the work.

        Raises:
            EnvironmentFailed: `disk_full`, `damaged`, or what `install` and `check` raise.
        """
        return publishing.publish(self.layout, manifest, lock, install, check)

    def workspace(self) -> AbstractContextManager[Path]:
        """Have a new directory on the store's file system, which goes away afterwards."""
        return publishing.workspace(self.layout)

    def verify(self, environment_id: str, *, quick: bool = False) -> Verification:
        """Compare an environment with its lock, file by file; `quick` compares names and sizes.

        Raises:
            NotFound: there is no such environment.
        """
        prefix = self._directory(environment_id)
        try:
            return verify(prefix, environment_id, BytecodePool(self.layout).has, quick=quick)
        except FileNotFoundError:
            self._directory(environment_id)  # says so if it was removed meanwhile
            raise

    def compile(self, environment_id: str, tell: Progress | None = None) -> None:
        """Give an environment the byte-code of its modules; kernels may run in it meanwhile.

        `tell(done, total)` counts modules. Idempotent; goes on where a killed one was.

        Raises:
            EnvironmentFailed: the disk is full.
            NotFound: there is no such environment, or it was removed meanwhile.
        """
        prefix = self._directory(environment_id)
        with exclusively(self._lock_file(f"pyc-{environment_id}"), _nothing):
            BytecodePool(self.layout).compile(prefix, tell or _silent)
        self._shelf.measure_anew(environment_id)

    def quarantine(self, environment_id: str) -> tuple[str, ...]:
        """Take a damaged environment away, and what its damaged files are linked from.

        The next build takes those packages from the index again. Return what was taken out of the
        caches.

        Raises:
            NotFound: there is no such environment.
        """
        found = self.verify(environment_id)
        directory = self._directory(environment_id)
        dropped = drop_sources(self.layout, directory, found.faults)
        self.layout.discard(directory)
        self._shelf.measure_anew()
        return tuple(path.relative_to(self.layout.root).as_posix() for path in dropped)

    # ------------------------------------------------------------------------------------- building

    def building(self, name: str, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Be the only builder of a name; `on_wait` is called once when another is.

        Whoever waited looks again whether what it wants is there by now. Not reentrant.
        """
        self.layout.prepare()
        return exclusively(self._lock_file(name), on_wait)

    def is_building(self, name: str) -> bool:
        """Tell whether somebody builds a name, without ever waiting."""
        return is_held(self._lock_file(name))

    def build_directory(self, build_id: str) -> Path:
        """Return the directory of a build, making it when it is not there."""
        self.layout.prepare()
        directory = self.layout.builds / safe(build_id)
        with room(self.layout.root):
            directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def build_log(self, build_id: str) -> BuildLog:
        """Return what a build tells; it need not have told anything yet."""
        return BuildLog(self.layout.builds / safe(build_id) / "events.jsonl")

    # ---------------------------------------------------------------------------------------- using

    def hold(self, environment_id: str, holder: Holder) -> bool:
        """Say that a process uses an environment; False when that is not there (any more).

        As long as the process lives or until it is released, the environment is not pruned. The
        same holder may be told again with another process.
        """
        self.layout.prepare()
        return self._holders.hold(environment_id, holder)

    def release(self, environment_id: str, holder_id: str) -> None:
        """Say that a kernel or run, by its id, uses an environment no longer."""
        self._holders.release(environment_id, holder_id)

    def touch(self, environment_id: str) -> None:
        """Note that an environment is used now."""
        self._holders.touch(environment_id)

    def list(self) -> list[Kept]:
        """Return all environments, the latest used first."""
        return self._shelf.list()

    def prune(
        self,
        keep: Collection[str] = (),
        unused_for: timedelta = UNUSED_FOR,
        *,
        dry_run: bool = False,
    ) -> Sequence[Kept]:
        """Remove the environments that nobody holds or keeps, unused for a while; return them.

        What definitions have become them is forgotten too. With `dry_run` nothing is removed.
        """
        self.layout.prepare()
        return self._shelf.prune(keep, unused_for, dry_run=dry_run)

    def remove(self, environment_id: str) -> bool:
        """Remove one environment; False when somebody holds it, or it is not there.

        Raises:
            Invalid: it is no environment's id.
        """
        self._directory(environment_id)
        return self._shelf.remove(environment_id)

    def sweep(
        self, minimum_age: timedelta = SWEPT_AFTER, builds_kept: timedelta = BUILDS_KEPT
    ) -> None:
        """Remove what killed builders have left, what ended builds told, and unused byte-code."""
        self.layout.prepare()
        self._shelf.sweep(minimum_age, builds_kept)

    # -------------------------------------------------------------------------------------- details

    def _lock_file(self, name: str) -> Path:
        return self.layout.building / f"{safe(name)}.lock"

    def _directory(self, environment_id: str) -> Path:
        directory = self.layout.environment(environment_id)
        if not directory.is_dir():
            raise NotFound(
                f"There is no environment {environment_id} in {self.layout.root}.",
                "See which there are: `element env list`.",
                field="environment",
            )
        return directory


def _silent(done: int, total: int) -> None:
    pass


def _nothing() -> None:
    pass
