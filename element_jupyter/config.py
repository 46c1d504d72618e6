"""Every knob of Element: traits with help, one class; the only module that reads the environment.

Values come from, in order: an argument of the command, `element_config.py` in the data directory,
`ELEMENT_<NAME>` in the environment, the default.
"""

from __future__ import annotations

import getpass
import os
from datetime import time
from pathlib import Path
from typing import Any

from traitlets import Bool, Float, Int, List, TraitError, Unicode, default, validate
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
        help="Address of the control plane: loopback only; others come by the proxy.",
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
    run_artifact_bytes = Int(
        10_000 * MEGABYTE,
        min=0,
        config=True,
        help="What a run may leave in files besides its notebook, when its runner sends them here.",
    )
    airflow_parallelism = Int(
        config=True, min=1, help="Airflow tasks at the same time. Default: cores, at least 2."
    )
    airflow = Bool(
        True,
        config=True,
        help="Whether `element up` runs Airflow; nothing fires without it.",
    )
    on_demand_seconds = Float(
        900.0,
        min=0.0,
        config=True,
        help="""
        How long the part that runs notebooks stays when JupyterLab has started it and none runs.

        JupyterLab starts it when a notebook is to run in the background and there is no platform.
        0: it does not, and says that `element up` starts the platform.
        """,
    )

    hub = Bool(
        True,
        config=True,
        help="""
        Whether `element up` starts a JupyterHub, where people sign in and which starts their
        servers and their runs.

        Off: one person, by the token in the data directory, as the account that it was started by.
        """,
    )
    public_url = Unicode(
        "",
        config=True,
        help="""
        The address that people open, e.g. `https://element.example.org`; one origin for all pages.

        Empty: `http` (with a certificate `https`) on `public_host` and `public_port`.
        """,
    )
    public_host = Unicode(
        "127.0.0.1",
        config=True,
        help="""
        Address that the proxy listens on, which is all that others reach.

        Anything but loopback needs a certificate, or a `public_url` that begins with `https`.
        """,
    )
    public_port = Int(
        0,
        min=0,
        max=65535,
        config=True,
        help="Port of the proxy, the only one that people use; 0 keeps the one first chosen.",
    )
    tls_cert = Unicode("", config=True, help="Certificate (PEM, with its chain) of `public_url`.")
    tls_key = Unicode("", config=True, help="Private key (PEM) of that certificate.")
    sizes_file = Unicode(
        "", config=True, help="What servers and runs may have. Empty: `sizes.yaml` in the data."
    )
    quotas_file = Unicode(
        "", config=True, help="Who may use how much. Empty: `quotas.yaml` in the data directory."
    )
    prices_file = Unicode(
        "", config=True, help="What things cost. Empty: `prices.yaml` in the data directory."
    )
    care_file = Unicode(
        "",
        config=True,
        help="What is tidied up, and when. Empty: `care.yaml` in the data.",
    )
    teams_file = Unicode(
        "", config=True, help="Who is in which team. Empty: `teams.yaml` in the data directory."
    )
    storage_at = Unicode(
        "02:30",
        config=True,
        help="""
        When what people and teams keep is measured each day, by this machine's clock.

        Only where each has an account. Empty: never, and limits of storage count nothing.
        """,
    )
    service_account = Unicode(
        "element",
        config=True,
        help="""
        Account of the operating system that the control plane runs as where root starts a Hub.

        The proxy's and Airflow's are named after it: `element-proxy`, `element-airflow`. They are
        made when they are not there.
        """,
    )
    accounts_group = Unicode(
        "element-people",
        config=True,
        help="""
        Group of the operating system whose accounts Element uses, makes and locks; no other is.

        An account of a person's name that is there already is used only once it is in this group.
        """,
    )
    homes_dir = Unicode("/home", config=True, help="Where the homes of accounts are made.")
    teams_dir = Unicode(
        "/srv/element/teams", config=True, help="Where the directories of teams are made."
    )
    collaboration_dir = Unicode(
        "",
        config=True,
        help="""
        Where jupyter-collaboration is installed (`pip install --target`) for the servers of teams.

        It is apart, since JupyterLab loads in every server what is installed beside it. Empty: the
        people of a team use one server, and see what others change once they open a file anew.
        """,
    )

    environments = Bool(
        True,
        config=True,
        help="""
        Whether the `python3` kernel of a notebook gets the environment of its definition file.

        Off: the kernels that are installed here are used as they are, in editors and in runs.
        """,
    )
    environment_store = Unicode(
        "",
        config=True,
        help="""
        Directory of built environments. Empty is `environments/` in the data directory.

        Several data directories may share one; it should be on a local disk.
        """,
    )
    environments_dir = Unicode(
        "",
        config=True,
        help="""
        Directory of shared definitions: each directory in it is offered by its name.

        The one named `default` is for notebooks without a definition. Empty: those that come with
        Element.
        """,
    )
    python = Unicode(
        "",
        config=True,
        help="Python of environments that do not ask for one, e.g. `3.12`. Default: the one here.",
    )
    index_urls = List(
        Unicode(),
        ["https://pypi.org/simple"],
        config=True,
        help="""
        Package indexes, most trusted first: a package is taken from the first that has it.

        No credentials in them: those come from `~/.netrc`, a keyring or, for one that is written
        with a name, as `ours=https://…`, from `UV_INDEX_OURS_USERNAME` and `…_PASSWORD`.
        """,
    )
    find_links = List(Unicode(), config=True, help="Directories or pages of wheels, besides.")
    channels = List(
        Unicode(),
        ["https://conda.anaconda.org/conda-forge"],
        config=True,
        help="Conda channels that definitions may use, most trusted first.",
    )
    allowed_origins = List(
        Unicode(),
        config=True,
        help="""
        Other places that definitions may take packages from without asking the person: URLs of
        indexes, pages or repositories; what begins with one of them is allowed.
        """,
    )
    allowed_builds = List(
        Unicode(),
        config=True,
        help="""
        Packages that exist as source only and may be built, in a sandbox; `*` is all.

        Building runs code of the package. Others need the recorded trust of a person.
        """,
    )
    build_timeout_seconds = Float(
        900.0, min=1.0, config=True, help="Time that building one environment may take."
    )
    offline = Bool(False, config=True, help="Never ask an index: only what is in the cache.")

    @default("data_dir")
    def _data_dir(self) -> str:
        return str(Path.home() / ".local" / "share" / "element")

    @default("owner")
    def _owner(self) -> str:
        # the account root is nobody's, and no server of the Hub is started as it
        return "admin" if self.hub and os.geteuid() == 0 else slug(getpass.getuser(), "user")

    @default("run_capacity")
    def _run_capacity(self) -> int:
        return max(2, os.cpu_count() or 1)

    @default("airflow_parallelism")
    def _airflow_parallelism(self) -> int:
        return max(2, os.cpu_count() or 1)

    @validate("data_dir")
    def _absolute(self, proposal: Any) -> str:
        return str(Path(proposal["value"]).expanduser().absolute())

    @validate("environment_store", "environments_dir")
    def _absolute_or_empty(self, proposal: Any) -> str:
        given = str(proposal["value"])
        return str(Path(given).expanduser().absolute()) if given else ""

    @validate("index_urls", "find_links", "channels", "allowed_origins")
    def _without_credentials(self, proposal: Any) -> list[str]:
        for url in proposal["value"]:
            if "@" in url.partition("://")[2].partition("/")[0]:
                raise TraitError(
                    f"Element.{proposal['trait'].name} has a URL with credentials: put them into "
                    "~/.netrc, a keyring, or UV_INDEX_<NAME>_USERNAME and …_PASSWORD."
                )
        return list(proposal["value"])

    @validate("storage_at")
    def _time_of_day(self, proposal: Any) -> str:
        said = str(proposal["value"])
        if said:
            try:
                time.fromisoformat(said)
            except ValueError:
                raise TraitError(f"Element.storage_at is {said!r}, and no time: '02:30'.") from None
        return said

    @validate("host")
    def _loopback(self, proposal: Any) -> str:
        if proposal["value"] not in {"127.0.0.1", "::1", "localhost"}:
            raise TraitError(
                f"Element.host is {proposal['value']!r}: the control plane listens on loopback "
                "only (127.0.0.1, ::1 or localhost). Others reach the proxy: Element.public_host."
            )
        return str(proposal["value"])

    @property
    def data(self) -> Path:
        return Path(self.data_dir)

    @property
    def store(self) -> Path:
        """Where environments are built."""
        return (
            Path(self.environment_store) if self.environment_store else self.data / "environments"
        )

    @property
    def token_file(self) -> Path:
        return self.data / "token"

    @property
    def state_file(self) -> Path:
        return self.data / "state.json"


def load(**arguments: Any) -> Element:
    """Read the configuration; `arguments` that are not None win over file and environment.

    A list in a variable is separated by spaces.

    Raises:
        TraitError: a value is malformed; the message names the trait.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    environment: dict[str, Any] = {
        name: text.split() if isinstance(trait, List) else trait.from_string(text)
        for name, trait in Element.class_traits(config=True).items()
        if (text := os.environ.get(f"ELEMENT_{name.upper()}")) is not None
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
