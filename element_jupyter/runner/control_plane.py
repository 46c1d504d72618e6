"""The control plane as a runner sees it: two doors, for this run only."""

from __future__ import annotations

from pathlib import Path

import httpx

from element_jupyter.core.errors import Unavailable

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)


class HttpControlPlane:
    """Posts to the run's URL with the run's own token; used by two threads."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        headers = {"Content-Type": "application/json"}
        if token_file is not None:
            headers["Authorization"] = f"Bearer {token_file.read_text().strip()}"
        self._url = url.rstrip("/")
        # a proxy named in the environment is for the notebook, not for a neighbour on loopback
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT, trust_env=False)

    def post_events(self, body: bytes) -> None:
        """Hand over events; raises Unavailable when they were not accepted."""
        self._post("events", body)

    def heartbeat(self) -> tuple[bool, str]:
        """Renew the lease; returns whether the run must stop, and why; raises Unavailable."""
        answer = self._post("heartbeat", b"{}").json()
        return bool(answer.get("stop")), str(answer.get("reason") or "")

    def _post(self, door: str, body: bytes) -> httpx.Response:
        try:
            return self._client.post(f"{self._url}/{door}", content=body).raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(f"The control plane did not accept a report: {error}.") from error
