"""`ElementDagBundle`: every job is a DAG file, written from the control plane's change feed.

    <bundle>/live/jobs/<dag id>.py     one tiny file per job, as it is now: what is parsed
    <bundle>/history/<dag id>.jsonl    what the job was at each version (`history.py`)
    <bundle>/stubs/<dag id>.py         loads the job as of the version in its own path
    <bundle>/versions/<version>/jobs   -> ../../stubs
    <bundle>/state.json                the last change that was applied, and which job awaits which

The bundle's version is the sequence number of the last change. A version costs a directory and a
link, made when a worker first wants it, however many jobs there are.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

from element_jupyter.provider import history

if TYPE_CHECKING:
    from element_jupyter.provider.client import Service

Document = dict[str, Any]

_log = structlog.get_logger(logger_name=__name__)

JOBS: Final = "jobs"
_STUB: Final = """\
# An Airflow dag of Element, as of the version in this file's path.
from element_jupyter.provider.dag import load

dag = load(__file__)
"""


class ElementDagBundle(BaseDagBundle):
    """The jobs of one control plane."""

    supports_versioning = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._live = self.base_dir / "live" / JOBS
        self._history = self.base_dir / "history"
        self._stubs = self.base_dir / "stubs"
        self._state_file = self.base_dir / "state.json"
        self._silent = False
        self.written: set[Path] = set()
        """Files written since somebody cleared this, relative to `path`."""

    @property
    def path(self) -> Path:
        return self.versions_dir / self.version if self.version else self._live.parent

    @property
    def sequence(self) -> int:
        """The last change that was applied; 0 before the first."""
        sequence: int = self._state()["sequence"]
        return sequence

    def files(self) -> list[Path]:
        """List the files of all jobs as they are now, relative to `path`."""
        names = (file.name for file in os.scandir(self._live))
        return [Path(JOBS, name) for name in names if name.endswith(".py")]

    def initialize(self) -> None:
        """Make the files of this version available."""
        for directory in (self._live, self._history, self._stubs):
            directory.mkdir(parents=True, exist_ok=True)
        if self.version is None:
            self.refresh()
        else:
            if self.sequence < int(self.version):
                # this machine does not run the DAG processor
                self.refresh()
            self.path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                (self.path / JOBS).symlink_to(Path("..", "..", self._stubs.name))
        super().initialize()

    def get_current_version(self) -> BundleVersion:
        return BundleVersion(version=self.version or str(self.sequence))

    def refresh(self) -> None:
        """Apply what has changed; keep what is there while the control plane does not answer."""
        from element_jupyter.core.errors import ElementError
        from element_jupyter.provider.client import Service

        with self.lock():
            try:
                with Service() as service:
                    self._follow(service)
            except ElementError as error:
                if not self._silent:
                    _log.warning("The jobs stay as they are: %s %s", error.message, error.hint)
                self._silent = True
            else:
                self._silent = False

    def _follow(self, service: Service) -> None:
        state = self._state()
        anew: set[str] | None = None
        while changes := service.get("/job-changes", after=state["sequence"])["items"]:
            if changes[0]["sequence"] <= state["sequence"]:
                # the feed was lost and begins again: all there is will be told
                anew = set()
            for change in changes:
                self._apply(change, state["awaits"])
                state["sequence"] = change["sequence"]
                if anew is not None:
                    anew.add(f"{change['team']}--{change['name']}.py")
            _write(self._state_file, json.dumps(state))
        if anew is not None:
            for file in self.files():
                if file.name not in anew:
                    (self._live / file.name).unlink()

    def _apply(self, change: Document, awaits: dict[str, list[str]]) -> None:
        job_id = f"{change['team']}/{change['name']}"
        sequence, stored = change["sequence"], change.get("stored")
        before = _union(awaits)
        if error := change.get("error"):
            # what it awaits, while it cannot be read, is what it awaited last
            self._write_live(job_id, _call("refuse", error, assign=False))
        else:
            awaits.pop(job_id, None)
            if waited := _waited(stored):
                awaits[job_id] = waited
        after = _union(awaits)
        if stored:
            self._keep(job_id, sequence, {"stored": stored, "awaited": job_id in after})
        elif not error:
            self._file(job_id).unlink(missing_ok=True)
        for other in sorted((before ^ after) - {job_id}):
            self._set_awaited(other, sequence, awaited=other in after)

    def _set_awaited(self, job_id: str, sequence: int, *, awaited: bool) -> None:
        """Rewrite a job that another one started, or ceased, to wait for."""
        newest = history.newest(self._history / f"{_dag_id(job_id)}.jsonl")
        if newest is not None and self._file(job_id).exists():
            self._keep(job_id, sequence, {**json.loads(newest), "awaited": awaited})

    def _keep(self, job_id: str, sequence: int, document: Document) -> None:
        dag_id = _dag_id(job_id)
        history.append(self._history / f"{dag_id}.jsonl", sequence, json.dumps(document))
        stub = self._stubs / f"{dag_id}.py"
        if not stub.exists():
            _write(stub, _STUB)
        self._write_live(job_id, _call("build", document, assign=True))

    def _write_live(self, job_id: str, code: str) -> None:
        _write(self._file(job_id), f"# An Airflow dag of Element: job {job_id}.\n{code}")
        self.written.add(Path(JOBS, f"{_dag_id(job_id)}.py"))

    def _file(self, job_id: str) -> Path:
        return self._live / f"{_dag_id(job_id)}.py"

    def _state(self) -> Document:
        try:
            state: Document = json.loads(self._state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"sequence": 0, "awaits": {}}
        return state


def _call(function: str, document: Document, *, assign: bool) -> str:
    """Return code that calls a function of `dag.py` with a document, which is a literal."""
    # a literal per line, for whoever reads it in Airflow's code view
    literals = "\n".join(f"    {line!r}" for line in json.dumps(document, indent=1).split("\n"))
    call = f"{'dag = ' if assign else ''}{function}(\n{literals}\n)\n"
    return f"from element_jupyter.provider.dag import {function}\n\n{call}"


def _waited(stored: Document | None) -> list[str]:
    """Return the jobs that a job waits for."""
    schedule = stored["job"].get("schedule") if stored else None
    return list(schedule["jobs"]) if schedule and schedule["kind"] == "asset" else []


def _union(awaits: dict[str, list[str]]) -> set[str]:
    return {job_id for jobs in awaits.values() for job_id in jobs}


def _dag_id(job_id: str) -> str:
    return job_id.replace("/", "--")


def _write(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
