"""The control plane as a runner sees it: some doors, for this run only."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from element_jupyter.core.errors import ElementError, Problem, Unavailable
from element_jupyter.core.runs import RunFinished, RunSpec

_TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)
_UPLOAD_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)


def run_client(url: str, token: str | None) -> httpx.Client:
    """Return a client of the run's URL, with the run's own token; threads may share it."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # what the system trusts, and not what comes with a Python package; http needs none of it
    verify = ssl.create_default_context() if url.startswith("https:") else False
    # a proxy named in the environment is for the notebook, not for the control plane
    return httpx.Client(
        base_url=f"{url.rstrip('/')}/",
        headers=headers,
        timeout=_TIMEOUT,
        verify=verify,
        trust_env=False,
    )


class HttpControlPlane:
    """Asks and tells the run's URL; used by several threads.

    Every method raises `Unavailable` when there is no answer, or one that another try may better,
    and another `ElementError` for a refusal.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def spec(self) -> RunSpec:
        """Return what is to be executed."""
        answer = self._ask("GET", "spec")
        try:
            return RunSpec.model_validate_json(answer.content)
        except ValidationError as error:
            raise ElementError(
                f"The control plane tells of a run what this runner does not understand: {error}.",
                "Install the same version of Element here and there.",
            ) from error

    def post_events(self, body: bytes) -> None:
        """Hand over events."""
        self._post("events", body)

    def heartbeat(self) -> tuple[bool, str]:
        """Renew the lease; returns whether the run must stop, and why."""
        answer = self._post("heartbeat", b"{}").json()
        return bool(answer.get("stop")), str(answer.get("reason") or "")

    def tell_end(self, finished: RunFinished) -> None:
        """Tell the last event when there is no file that it could be written to."""
        told = self._post("events", b'{"events": []}').json()["accepted"]
        event = finished.model_copy(update={"sequence": told + 1})
        self._post("events", json.dumps({"events": [event.model_dump(mode="json")]}).encode())

    def put_notebook(self, path: Path) -> None:
        """Hand over the executed notebook."""
        self._put("notebook", path)

    def put_artifact(self, name: str, path: Path) -> None:
        """Hand over a file that the run left."""
        self._put(f"artifacts/{quote(name)}", path)

    def _post(self, door: str, body: bytes) -> httpx.Response:
        return self._ask("POST", door, content=body, headers={"Content-Type": "application/json"})

    def _put(self, door: str, path: Path) -> None:
        with path.open("rb") as file:
            self._ask("PUT", door, content=file, timeout=_UPLOAD_TIMEOUT)

    def _ask(self, verb: str, door: str, **said: object) -> httpx.Response:
        try:
            answer = self._client.request(verb, door, **said)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise Unavailable(f"The control plane does not answer: {error}.") from error
        if answer.is_success:
            return answer
        try:
            told = ElementError.from_problem(Problem.model_validate_json(answer.content))
        except ValidationError:
            told = ElementError(f"The control plane answered with {answer.status_code}.")
        if answer.is_server_error:
            raise Unavailable(told.message, told.hint)
        raise told
