"""Installing a lock with `uv`, and how far that is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from element_jupyter.core.environments.building import Phase, Tell
from element_jupyter.core.environments.identity import Artefact


class Progress:
    """Counts what is downloaded and what is installed, by what `uv` leaves on the disk.

    uv tells neither in a form for programs. In its cache it writes `<version>-<tags>.http` (or
    `.rev`) into a directory named for the package when a wheel is there whole; in the environment,
    a `.dist-info` directory for each package.
    """

    def __init__(
        self, artefacts: Iterable[Artefact], cache: Path, prefix: Path, tell: Tell
    ) -> None:
        self._versions = {each.name: each.version for each in artefacts}
        self._cache, self._prefix, self._tell = cache, prefix, tell
        self._missing = {
            name: version
            for name, version in self._versions.items()
            if not self._is_cached(name, version)
        }
        self._to_download = len(self._missing)
        self._told: tuple[Phase, int] | None = None

    def watch(self) -> None:
        """Look, and tell what has changed."""
        installed = self._installed()
        if installed:
            self._say(Phase.INSTALLING, installed, len(self._versions))
            return
        self._missing = {
            name: version
            for name, version in self._missing.items()
            if not self._is_cached(name, version)
        }
        if self._to_download:
            done = self._to_download - len(self._missing)
            self._say(Phase.DOWNLOADING, done, self._to_download)

    @property
    def now(self) -> tuple[Phase, int | None, int | None]:
        """Where it is, to tell something else with."""
        if self._told is None:
            return Phase.INSTALLING if not self._to_download else Phase.DOWNLOADING, None, None
        phase, done = self._told
        return phase, done, self._to_download if phase is Phase.DOWNLOADING else len(self._versions)

    def finish(self) -> None:
        """Tell that all is there."""
        if self._to_download:
            self._say(Phase.DOWNLOADING, self._to_download, self._to_download)
        self._say(Phase.INSTALLING, len(self._versions), len(self._versions))

    def _say(self, phase: Phase, done: int, total: int) -> None:
        order = [Phase.DOWNLOADING, Phase.INSTALLING]
        if self._told is not None:
            before, count = self._told
            # what was seen installed was downloaded, though nobody looked in between
            if order.index(phase) < order.index(before) or (phase is before and done <= count):
                return
            if phase is not before and before is Phase.DOWNLOADING and count < self._to_download:
                self._tell(Phase.DOWNLOADING, self._to_download, self._to_download)
        self._told = (phase, done)
        self._tell(phase, done, total)

    def _installed(self) -> int:
        site = next(iter((self._prefix / "lib").glob("python*/site-packages")), None)
        if site is None:
            return 0
        return sum(1 for each in site.iterdir() if each.name.endswith(".dist-info"))

    def _is_cached(self, name: str, version: str) -> bool:
        for layer in ("pypi", "index/*", "url/*", "flat-index/*"):
            for directory in self._cache.glob(f"wheels-v*/{layer}/{name}"):
                for each in directory.iterdir():
                    if each.suffix in {".http", ".rev"} and _is_of(each.name, version):
                        return True
        return False


def _is_of(filename: str, version: str) -> bool:
    return filename.startswith((f"{version}-", f"{version}."))
