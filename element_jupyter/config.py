"""Every knob of Element: traits with help, one class; the only module that reads the environment.

Values come from, in order: an argument of the command, `element_config.py` in the data directory,
`ELEMENT_<NAME>` in the environment, the default.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any

from traitlets import Bool, Float, Int, TraitError, Unicode, default, validate
from traitlets.config import Config, Configurable
from traitlets.config.loader import PyFileConfigLoader

from element_jupyter.core.values import slug

MEGABYTE = 1_000_000


class Element(Configurable):
    """Configuration of one Element installation on one machine."""

    data_dir = Unicode(
        config=True,
        help="""
        Directory of all that Element keeps: jobs, snapshots, runs, databases, logs, secrets.

        Created with mode 0700. Default: `$ELEMENT_DATA_DIR`, else `~/.local/share/element`.
        """,
    )
    host = Unicode(
        "127.0.0.1",
        config=True,
        help="Address that the services listen on. Anything but loopback is refused for now.",
    )
    port = Int(
        0,
        min=0,
        max=65535,
        config=True,
        help="Port of the control plane; 0 keeps the one chosen at the first start.",
    )
    airflow_port = Int(
        0,
        min=0,
        max=65535,
        config=True,
        help="Port of Airflow's web server; 0 keeps the one chosen at the first start.",
    )
    database_url = Unicode(
        "",
        config=True,
        help="""
        PostgreSQL of the control plane, e.g. `postgresql+psycopg://user@host/element`.

        Empty starts the embedded server in the data directory. Another database named like it with
        the suffix `_airflow` is Airflow's, unless `airflow_database_url` says otherwise.
        """,
    )
    airflow_database_url = Unicode("", config=True, help="PostgreSQL database of Airflow.")
    blob_url = Unicode(
        "",
        config=True,
        help="""
        Where snapshots are kept: any fsspec URL, e.g. `s3://bucket/element`.

        Empty is `blobs/` in the data directory.
        """,
    )
    owner = Unicode(
        config=True,
        help="The person that this serves, as team and owner of jobs. Default: the OS user.",
    )
    run_capacity = Int(
        config=True,
        min=1,
        help="""
        Runs that may execute at the same time; more wait in the queue. Default: cores, at least 2.
        """,
    )
    lease_seconds = Float(
        30.0,
        min=2.0,
        config=True,
        help="""
        A run that has not been heard of for so long is `lost`, or `failed` when its process is
        known to be gone.
        """,
    )
    default_time_limit_seconds = Int(
        7200, min=1, config=True, help="Time limit of a run whose job names none."
    )
    max_time_limit_seconds = Int(
        7 * 86400, min=1, config=True, help="Longest time limit that a job may name."
    )
    stop_grace_seconds = Float(
        10.0,
        min=0.0,
        config=True,
        help="Time between interrupting a stopped run's kernel and killing its process group.",
    )
    snapshot_warn_bytes = Int(
        20 * MEGABYTE, min=0, config=True, help="A larger snapshot warns, naming its largest files."
    )
    snapshot_refuse_bytes = Int(
        200 * MEGABYTE, min=0, config=True, help="A larger snapshot is refused."
    )
    airflow_parallelism = Int(
        config=True, min=1, help="Airflow tasks at the same time. Default: cores, at least 2."
    )
    airflow = Bool(
        True,
        config=True,
        help="Whether `element up` runs Airflow; nothing fires without it.",
    )

    @default("data_dir")
    def _data_dir(self) -> str:
        return str(Path.home() / ".local" / "share" / "element")

    @default("owner")
    def _owner(self) -> str:
        return slug(getpass.getuser(), "user")

    @default("run_capacity")
    def _run_capacity(self) -> int:
        return max(2, os.cpu_count() or 1)

    @default("airflow_parallelism")
    def _airflow_parallelism(self) -> int:
        return max(2, os.cpu_count() or 1)

    @validate("data_dir")
    def _absolute(self, proposal: Any) -> str:
        return str(Path(proposal["value"]).expanduser().absolute())

    @validate("host")
    def _loopback(self, proposal: Any) -> str:
        if proposal["value"] not in {"127.0.0.1", "::1", "localhost"}:
            raise TraitError(
                f"Element.host is {proposal['value']!r}: this version signs in one local user with "
                "a token and listens on loopback only (127.0.0.1, ::1 or localhost)."
            )
        return str(proposal["value"])

    @property
    def data(self) -> Path:
        return Path(self.data_dir)

    @property
    def token_file(self) -> Path:
        return self.data / "token"

    @property
    def state_file(self) -> Path:
        return self.data / "state.json"


def load(**arguments: Any) -> Element:
    """Read the configuration; `arguments` that are not None win over file and environment.

    Raises:
        TraitError: a value is malformed; the message names the trait.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    environment = {
        name: trait.from_string(os.environ[variable])
        for name, trait in Element.class_traits(config=True).items()
        if (variable := f"ELEMENT_{name.upper()}") in os.environ
    }
    data_dir = given.get("data_dir") or environment.get("data_dir") or Element().data_dir
    path = Path(data_dir).expanduser()
    config = Config()
    if (path / "element_config.py").is_file():
        config = PyFileConfigLoader("element_config.py", path=str(path)).load_config()
    for name, value in environment.items():
        config.Element.setdefault(name, value)
    config.Element.update(given)
    config.Element.data_dir = str(path)
    return Element(config=config)
