"""The part of the platform that runs notebooks, started when one is to run and there is none.

It is an `element up` like any other, without Airflow, in a session of its own: the Jupyter server
may end, and it goes on until its notebooks have run. `element up` in a terminal displaces it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from element_jupyter.config import Element
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.kernel_variables import command_environment
from element_jupyter.platform.data import Data
from element_jupyter.platform.state import is_running, read_state
from element_jupyter.server.control_plane import START_HINT

_READY_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.1
_LOG: Final = "on-demand"


class OnDemandPlatform:
    """Starts it for one data directory."""

    def __init__(self, settings: Element, *, of_hub: bool = False) -> None:
        """Name the data directory; the platform of a Hub is not a person's server's to start."""
        self._of_hub = of_hub
        self._settings = settings
        self._data = Data(settings.data)
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Return when a platform is ready: one that is there already, or else one started now.

        Raises:
            Unavailable: none is there and none is to be started from here, or it does not start.
        """
        async with self._one_at_a_time:
            process: subprocess.Popen[bytes] | None = None
            until = time.monotonic() + _READY_SECONDS
            while not self._is_ready():
                if not is_running(self._data.lock_file):
                    if process is None:
                        process = await asyncio.to_thread(self._started)
                    elif process.poll() is not None:
                        raise self._failed()
                if time.monotonic() > until:
                    raise self._failed()
                await asyncio.sleep(_LOOK_SECONDS)

    def _is_ready(self) -> bool:
        state = read_state(self._data.state_file)
        return state is not None and state.ready and is_running(self._data.lock_file)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._of_hub or not self._settings.on_demand_seconds:
            raise Unavailable("The Element platform is not running.", START_HINT)
        self._data.create()
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                # -P: a module in the working directory must not be taken for one of ours
                [
                    *(sys.executable, "-P", "-m", "element_jupyter.cli"),
                    *("up", "--on-demand", "--data", str(self._data.root)),
                ],
                cwd=self._data.root,
                env=command_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # only who has started it can be told that it has ended, and must be, lest it stays a zombie
        threading.Thread(target=process.wait, name="on-demand", daemon=True).start()
        return process

    @property
    def _log(self) -> Path:
        return self._data.open_log(_LOG)

    def _failed(self) -> Unavailable:
        said = self._log.read_text(errors="replace").strip()
        return Unavailable(
            "What runs notebooks could not be started.",
            f"Its log says why: {self._log}.",
            details=said[-5_000:],
        )
