"""The data directory: where everything that Element keeps lies, and how its private files are made.

data.json      format of the directory       token        API token of the local user
up.lock        held by `element up`          state.json   what runs now
ports.json     ports, kept so that URLs stay secrets/     0600 files
run/           sockets                       logs/        one file per process
snapshot-roots.jsonl  of which directory a person took each snapshot
postgres/  jobs/  blobs/  runs/  spool/  environments/  airflow/  dags/  hub/  proxy/
control-plane/  what it keeps besides; home of its account, where it has one
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from element_jupyter.core.errors import Conflict, Unavailable

FORMAT: Final = 1
"""Raised when an older Element could not read what this one writes."""

_DIRECTORIES: Final = ("secrets", "run", "logs", "jobs", "blobs", "runs")
NEEDED_BYTES: Final = 300_000_000  # an empty cluster, its log and Airflow's tables, and room to run


class Data:
    """Paths in the data directory, and the secrets that are generated there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.token_file = root / "token"
        self.lock_file = root / "up.lock"
        self.state_file = root / "state.json"
        self.ports_file = root / "ports.json"
        self.snapshot_roots_file = root / "snapshot-roots.jsonl"
        self.postgres = root / "postgres"
        self.airflow = root / "airflow"
        self.hub = root / "hub"
        self.proxy = root / "proxy"
        self.control_plane = root / "control-plane"
        self.dags = root / "dags"
        self.logs = root / "logs"
        self.run = root / "run"
        self.secrets = root / "secrets"
        self.airflow_passwords = self.secrets / "airflow-passwords.json"
        self.airflows_token = self.secrets / "airflow-token"
        self.control_planes_airflow_token = self.secrets / "airflow-token-of-control-plane"

    def create(self) -> None:
        """Create the directory, its parts and its secrets, or check those that are there.

        Raises:
            Unavailable: it cannot be written, or the disk is full.
            Conflict: it was written by an Element too new for this one.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            # a service's own account may have been let through, and may be running
            self.root.chmod(0o700 | stat.S_IMODE(self.root.stat().st_mode) & 0o011)
            _check_space(self.root)
            self.check_format()
            if not (self.root / "data.json").exists():
                write_private(self.root / "data.json", json.dumps({"format": FORMAT}) + "\n")
            # a project that holds the data directory must not take it into its snapshots
            if not (self.root / ".gitignore").exists():
                write_private(self.root / ".gitignore", "*\n")
            for name in _DIRECTORIES:
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
            _secret(self.token_file, 32)
        except OSError as error:
            raise Unavailable(
                f"The data directory {self.root} cannot be used: {error.strerror}.",
                "Give one that you may write to: element up --data DIR.",
            ) from error

    def secret(self, name: str) -> str:
        """Return a secret, generated when it is first asked for."""
        return _secret(self.secrets / name, 48)

    def fernet_key(self, name: str) -> str:
        """Return a secret in the form that Fernet wants: 32 bytes in URL-safe base64."""
        path = self.secrets / name
        if not path.exists():
            write_private(path, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() + "\n")
        return path.read_text().strip()

    def log_name(self, process: str) -> str:
        """Return where the log of a process lies, for a person."""
        return str(self.logs / f"{process}.log")

    def let_accounts_pass(self) -> None:
        """Let other accounts come to what is theirs in here; they see no names on the way."""
        for directory in (self.root, self.logs):
            directory.chmod(0o711)

    def open_log(self, process: str, owner: tuple[int, int] | None = None) -> Path:
        """Return the log file of a process that starts; what is over 10 MB is put aside.

        The process opens it itself if it is of another account, the `owner` (user, group).
        """
        path = self.logs / f"{process}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > 10_000_000:
                path.replace(path.with_suffix(".log.1"))
        path.touch(0o600)
        os.chown(path, *(owner or (-1, -1)))
        return path

    def secret_files(self) -> list[Path]:
        """Return the files that nobody else may read."""
        return sorted(self.secrets.iterdir()) if self.secrets.is_dir() else []

    def check_format(self) -> None:
        """Raise `Conflict` when an Element wrote the directory that is too old or too new."""
        path = self.root / "data.json"
        if not path.exists():
            return
        try:
            found = int(json.loads(path.read_text())["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise Conflict(
                f"{path} is not readable as the mark of an Element data directory.",
                f'If it is one, restore the file: {{"format": {FORMAT}}}.',
            ) from error
        if found != FORMAT:
            raise Conflict(
                f"The data directory {self.root} has format {found}, this Element reads {FORMAT}.",
                "Upgrade Element, or give another data directory."
                if found > FORMAT
                else "Start the Element that wrote it, or give another data directory.",
            )


def write_private(
    path: Path,
    text: str,
    owner: tuple[int, int] | None = None,
    *,
    readers: int | None = None,
) -> None:
    """Write a file of mode 0600 so that a reader sees the old text or the new one, never a part.

    It may be another account's, the `owner` (user, group); or a group may read it, the `readers`.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            if readers is not None:
                os.fchown(file.fileno(), -1, readers)
                os.fchmod(file.fileno(), 0o640)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _secret(path: Path, length_bytes: int) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(length_bytes) + "\n")
    return path.read_text().strip()


def _check_space(root: Path) -> None:
    disk = os.statvfs(root)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < NEEDED_BYTES:
        raise Unavailable(
            f"Only {free_bytes // 1_000_000} MB are free where {root} lies; "
            f"Element needs {NEEDED_BYTES // 1_000_000} MB to start.",
            "Free some space, or give a data directory on another disk.",
        )
