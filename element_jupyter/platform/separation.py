"""As whom the parts of the platform run that need not be root, and what each is given.

Where root starts a platform that many sign in to, the control plane, the proxy and Airflow are
accounts of their own. The Hub stays root: it makes people's accounts and starts their processes.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from element_jupyter.adapters.service_accounts import (
    ServiceAccount,
    cannot_use,
    closed_directory,
    own,
    service_account,
    take_back,
)
from element_jupyter.config import Element
from element_jupyter.platform.data import Data

_log = logging.getLogger(__name__)

_OWN: Final = ("jobs", "blobs", "runs", "spool", "control-plane")
"""Directories that the control plane alone writes to."""
_PASSED: Final = re.compile(
    r"PATH|LANG|LC_\w+|TZ|TMPDIR|PYTHON\w+"
    r"|(?!ELEMENT_AIRFLOW_DATABASE_URL)ELEMENT_\w+"
    # certificates and proxies
    r"|SSL_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(?:HTTP|HTTPS|ALL|NO|http|https|all|no)_(?i:proxy)"
    # credentials of where snapshots are kept, and of the indexes that environments come from
    r"|(?:AWS|AZURE|GOOGLE|GCLOUD|GCS|S3|FSSPEC)_\w+|NETRC|(?:UV|CONDA|RATTLER)_\w+"
)
"""What of the environment of `up` is the control plane's too; the rest may be the Hub's secrets."""


@dataclass(frozen=True)
class Separation:
    """The accounts; None where a part runs as who started the platform."""

    control_plane: ServiceAccount | None = None
    proxy: ServiceAccount | None = None
    airflow: ServiceAccount | None = None


def separate(config: Element, data: Data, *, airflow: bool) -> Separation:
    """Return the accounts of a platform with a Hub, made and given what is theirs.

    Where one could not do its work, the log says so, and what runs as root for it.

    Raises:
        Conflict: an account of that name is a person's.
        Unavailable: the system makes none.
    """
    if os.geteuid() != 0:
        return Separation()
    traefik = shutil.which("traefik") or sys.executable
    for needed in (data.root, sys.executable, Path(sys.prefix, "bin"), Path(__file__), traefik):
        if (closed := closed_directory(Path(needed))) is not None:
            _log.warning(
                "The control plane, the proxy and Airflow run as root: their accounts cannot pass "
                "%s. Give a data directory, and a Python, that they can reach: element up --data "
                "/var/lib/element",
                closed,
            )
            return together(config, data)
    data.let_accounts_pass()
    name = config.service_account
    return Separation(
        control_plane=_control_plane(config, data, service_account(name)),
        proxy=service_account(f"{name}-proxy"),
        airflow=service_account(f"{name}-airflow") if airflow else None,
    )


def together(config: Element, data: Data) -> Separation:
    """Return no accounts: all runs as who started it, and what is made belongs to that one."""
    if os.geteuid() == 0:
        for directory in (*_directories(config, data), data.airflow):
            take_back(directory)
    return Separation()


def environment_of_control_plane(config: Element, data: Data) -> dict[str, str]:
    """Return what the control plane's account is told of this process's environment."""
    passed = {name: text for name, text in os.environ.items() if _PASSED.fullmatch(name)}
    # whom the platform's own token speaks for depends on who asks, unless it is said
    return passed | {"HOME": str(data.control_plane), "ELEMENT_OWNER": config.owner}


def share(path: Path, account: ServiceAccount | None) -> None:
    """Let the account's group read a file, or enter a directory, which stays the owner's."""
    if account is not None:
        mode = stat.S_IMODE(path.stat().st_mode)
        os.chown(path, -1, account.gid)
        path.chmod(mode | (0o050 if path.is_dir() else 0o040))


def _control_plane(config: Element, data: Data, account: ServiceAccount) -> ServiceAccount | None:
    if (configuration := data.root / "element_config.py").is_file():
        share(configuration, account)
    files = (
        config.sizes_file,
        config.quotas_file,
        config.care_file,
        config.prices_file,
        config.environments_dir,
    )
    given = [Path(each) for each in files if each]
    used = config.environment_store if config.environments else ""
    elsewhere = [Path(used)] if used else []
    if (blobs := _local(config.blob_url)) is not None:
        elsewhere.append(blobs)
    refused = cannot_use(account, reads=given, writes=elsewhere) or next(
        (path for path in elsewhere if not path.exists()), None
    )
    if refused is not None:
        _log.warning(
            "The control plane runs as root: its account %s cannot use %s. Give it to the account: "
            "mkdir -p %s && chown -R %s %s",
            *(account.name, refused, refused, account.name, refused),
        )
        for directory in _directories(config, data):
            take_back(directory)
        return None
    for directory in _directories(config, data):
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)
        own(directory, account)
    return account


def _directories(config: Element, data: Data) -> list[Path]:
    own_store = [] if config.environment_store else [data.root / "environments"]
    return [data.root / name for name in _OWN] + own_store


def _local(url: str) -> Path | None:
    """Return the directory that an fsspec URL names, if it is one of this machine."""
    path = re.sub(r"^(?:file|local)://", "", url)
    return Path(path) if path and "://" not in path else None
