"""Composition for the command line: configuration, the client of the control plane, snapshots."""

from __future__ import annotations

import functools
import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from traitlets import TraitError

from element_jupyter import config
from element_jupyter.adapters.cron import CroniterWallClock
from element_jupyter.adapters.forkserver import die_with_parent
from element_jupyter.adapters.job_files.job_yaml import JobYaml, read_yaml
from element_jupyter.adapters.project import Scan, find_root, scan
from element_jupyter.adapters.service_client import START_HINT, Address, ServiceClient, Told
from element_jupyter.adapters.snapshot_roots import SnapshotRoots
from element_jupyter.core.errors import Conflict, Invalid, Unavailable
from element_jupyter.core.snapshots import SnapshotLimits
from element_jupyter.platform.data import Data
from element_jupyter.platform.hub_server import HubServer, hub_server
from element_jupyter.platform.state import PlatformState, is_running, read_state

__all__ = ["Local", "ServiceClient", "Told", "connect", "find_root", "local_zone", "read_yaml"]

Progress = Callable[[int, int], None]

_ATTEMPTS: Final = 3
_log = logging.getLogger(__name__)

CLOCK = CroniterWallClock()
JOB_FORMAT = JobYaml()


@dataclass(frozen=True)
class Local:
    """One installation as a command sees it: its configuration, and the control plane's client."""

    config: config.Element
    service: ServiceClient
    hub: HubServer | None = None
    """What a Hub has told this process, which then asks the platform that the Hub belongs to."""

    @property
    def data(self) -> Data:
        return Data(self.config.data)

    @property
    def team(self) -> str:
        """Whose things a command means that does not say."""
        return self.hub.team if self.hub else self.config.owner

    @property
    def state(self) -> PlatformState | None:
        """What `element up` runs now; None when it does not."""
        return read_state(self.data.state_file) if self.is_up else None

    @property
    def is_up(self) -> bool:
        return is_running(self.data.lock_file)

    def upload(self, root: Path, progress: Callable[[str], Progress]) -> Scan:
        """Make and store a snapshot of a project; `progress` is asked for a meter of each step.

        Raises:
            Invalid, TooLarge: the project cannot be one; names the file.
            Conflict: files kept changing between being read and being sent.
            Unavailable: the control plane does not answer.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            meter = progress("Reading files")
            found = scan(root, limits=self._limits, progress=meter, reread=attempt > 1)
            try:
                self.service.upload(found.manifest, found.sources, progress("Uploading"))
                break
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
        try:
            roots = SnapshotRoots(self.data.snapshot_roots_file)
            roots.remember(found.manifest.snapshot_id, root)
        except OSError as error:
            # only whether the notebook has changed since will not be told
            _log.warning("Where the snapshot was taken is not remembered: %s", error)
        return found

    @property
    def _limits(self) -> SnapshotLimits:
        return SnapshotLimits(
            warn_bytes=self.config.snapshot_warn_bytes,
            refuse_bytes=self.config.snapshot_refuse_bytes,
        )


def connect(data_dir: Path | None, *, token: str | None = None) -> Local:
    """Read the configuration of a data directory (None: the usual one) and make its client.

    In a server of a Hub, and without a data directory, it asks the platform of that Hub, as the
    person whose server it is, or the holder of a `token` of that Hub. Nothing is asked yet; a
    platform that does not run is seen with the first question.

    Raises:
        Invalid: the configuration is malformed.
    """
    hub = hub_server() if data_dir is None else None
    try:
        settings = config.load(
            data_dir=str(data_dir) if data_dir else None, owner=hub.person if hub else None
        )
    except TraitError as error:
        raise Invalid(str(error), "See element_config.py and the ELEMENT_… variables.") from error
    if hub is not None:
        there = Address(hub.url, token or hub.token)
        return Local(settings, ServiceClient(lambda: there), hub)
    data = Data(settings.data)

    def address() -> Address:
        # read for each question: a restart of the platform may have changed both
        state = read_state(data.state_file)
        try:
            token = data.token_file.read_text().strip()
        except FileNotFoundError:
            token = ""
        except OSError as error:
            raise Unavailable(
                f"The token in {data.token_file} cannot be read: {error.strerror}."
            ) from error
        if state is None or not token:
            raise Unavailable(f"Element does not run on {data.root}.", START_HINT)
        return Address(state.service_url.rstrip("/"), token)

    return Local(settings, ServiceClient(address))


def local_zone() -> str:
    """Return the IANA name of this machine's time zone; UTC when it does not say."""
    _, found, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    return name if found and name and name != "Etc/UTC" else "UTC"


def examples() -> Path:
    """Return the directory of the examples, in a checkout or in what was installed."""
    package = Path(__file__).parents[1]
    installed = package / "examples"
    return installed if installed.is_dir() else package.parent / "examples"


def start_platform(data: Path) -> subprocess.Popen[bytes]:
    """Start `element up`, which ends with this process; its messages go to standard error."""
    return subprocess.Popen(
        [sys.executable, "-m", "element_jupyter.cli", "up", "--data", str(data)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,  # Ctrl-C is for the command that started it
        preexec_fn=functools.partial(die_with_parent, signal.SIGTERM),  # noqa: PLW1509 (one thread)
    )
