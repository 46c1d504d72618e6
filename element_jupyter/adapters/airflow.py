"""Airflow's REST API, for the control plane: start a DAG run, and see how it went."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import httpx

from element_jupyter.core.errors import Conflict, ElementError, Invalid, NotFound, Unavailable

DagRunState = Literal["queued", "running", "success", "failed"]

_TIMEOUT: Final = httpx.Timeout(15.0, connect=3.0)
_NEW_DAG_SECONDS: Final = 5.0
"""How long a DAG is waited for that Airflow does not know yet: its job may be a second old."""


class AirflowOrchestrator:
    """One Airflow, spoken to as one of its users."""

    def __init__(
        self, url: str, user: str, passwords_file: Path, token_file: Path | None = None
    ) -> None:
        """Name the server and the user; the file is JSON, passwords by user (0600).

        Where people sign in at a Hub there are no passwords: `token_file` then has a token.
        """
        self._url = url.rstrip("/")
        self._user = user
        self._passwords_file = passwords_file
        self._token_file = token_file
        self._client = httpx.AsyncClient(base_url=self._url, timeout=_TIMEOUT, trust_env=False)
        self._token = ""
        self._signing_in = asyncio.Lock()

    async def trigger(
        self,
        dag_id: str,
        *,
        logical_date: datetime,
        conf: dict[str, Any] | None = None,
    ) -> str:
        """Start a DAG run and return its id.

        Raises:
            NotFound: Airflow does not know the DAG, even after some seconds.
            Conflict: there is a run of that logical date.
            Unavailable: Airflow does not answer.
        """
        body = {"logical_date": logical_date.isoformat(), "conf": conf or {}}
        deadline = time.monotonic() + _NEW_DAG_SECONDS
        while True:
            try:
                started = await self._call("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)
                break
            except NotFound as error:
                if time.monotonic() > deadline:
                    raise NotFound(
                        f"Airflow does not know the DAG {dag_id}.",
                        "See whether it shows an import error, and whether its DAG processor runs.",
                    ) from error
                await asyncio.sleep(0.1)
        dag_run_id: str = started["dag_run_id"]
        return dag_run_id

    async def state(self, dag_id: str, dag_run_id: str) -> DagRunState:
        """Return the state of a DAG run.

        Raises:
            NotFound: there is none.
            Unavailable: Airflow does not answer.
        """
        run = await self._call("GET", f"/dags/{quote(dag_id)}/dagRuns/{quote(dag_run_id)}")
        state: DagRunState = run["state"]
        return state

    async def pools(self) -> frozenset[str]:
        """Return the names of Airflow's pools.

        Raises:
            Unavailable: Airflow does not answer.
        """
        found = await self._call("GET", "/pools", params={"limit": 1000})
        return frozenset(pool["name"] for pool in found["pools"])

    async def health(self) -> dict[str, bool]:
        """Say which of Airflow's components are healthy; all false when it does not answer."""
        try:
            found = await self._call("GET", "/monitor/health", signed_in=False)
        except ElementError:
            found = {}
        components = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return {name: (found.get(name) or {}).get("status") == "healthy" for name in components}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(
        self, verb: str, path: str, *, signed_in: bool = True, **options: Any
    ) -> dict[str, Any]:
        token = await self._signed_in() if signed_in else ""
        response = await self._send(verb, path, token, options)
        # 401 for a token that has expired, 403 for one of another secret
        if response.status_code in {401, 403} and signed_in:
            response = await self._send(
                verb, path, await self._signed_in(instead_of=token), options
            )
        if response.is_error:
            raise _error(response)
        answered: dict[str, Any] = response.json()
        return answered

    async def _send(
        self, verb: str, path: str, token: str, options: dict[str, Any]
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return await self._client.request(verb, f"/api/v2{path}", headers=headers, **options)
        except httpx.TransportError as error:
            raise self._silent() from error

    async def _signed_in(self, *, instead_of: str = "") -> str:
        """Return a token; a new one when there is none but `instead_of`, which was refused."""
        async with self._signing_in:
            if self._token in {"", instead_of}:
                self._token = await self._sign_in()
            return self._token

    async def _sign_in(self) -> str:
        if self._token_file is not None:
            try:
                return (await asyncio.to_thread(self._token_file.read_text)).strip()
            except OSError as error:
                raise Unavailable(
                    f"The control plane's token for Airflow cannot be read: {error.strerror}.",
                    f"Check {self._token_file}; `element up` writes it.",
                ) from error
        try:
            passwords = json.loads(await asyncio.to_thread(self._passwords_file.read_text))
            password = passwords[self._user]
        except (OSError, ValueError, KeyError) as error:
            raise Unavailable(
                f"The password of Airflow's user {self._user} cannot be read.",
                f"Check {self._passwords_file}; `element up` writes it.",
            ) from error
        try:
            response = await self._client.post(
                "/auth/token", json={"username": self._user, "password": password}
            )
        except httpx.TransportError as error:
            raise self._silent() from error
        if response.is_error:
            raise _error(response)
        token: str = response.json()["access_token"]
        return token

    def _silent(self) -> Unavailable:
        return Unavailable(
            f"Airflow at {self._url} does not answer.",
            "See whether `element up` runs: element status.",
        )


def _error(response: httpx.Response) -> ElementError:
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = ""
    detail = detail if isinstance(detail, str) else json.dumps(detail)
    sentence = f"Airflow answered {response.status_code}: {detail}".rstrip(": ")
    match response.status_code:
        case 404:
            return NotFound(sentence)
        case 409:
            return Conflict(sentence)
        case 400 | 422:
            return Invalid(sentence)
        case 401 | 403:
            return Unavailable(sentence, "Airflow does not accept the control plane's sign-in.")
        case status if status >= 500:
            return Unavailable(sentence, "Try again in a moment; see Airflow's log if it lasts.")
        case _:
            return ElementError(sentence)
