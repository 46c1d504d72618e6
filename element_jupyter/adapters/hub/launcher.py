"""The control plane as the Hub's spawner asks it: tickets of runs, how their processes ended."""

from __future__ import annotations

from typing import Any, Final

import httpx
from pydantic import ValidationError

from element_jupyter.core.errors import ElementError, Problem, Unavailable
from element_jupyter.core.provisioning import Launch, ProcessExit

_TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0)


class HttpLauncher:
    """A `core.provisioning.Launcher` that asks over REST, with the Hub's own token."""

    def __init__(self, service_url: str, token: str) -> None:
        self._url = f"{service_url}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http: httpx.AsyncClient | None = None

    async def redeem(self, run_id: str, ticket: str, person: str) -> Launch:
        answer = await self.tell(f"runs/{run_id}/launch", {"ticket": ticket, "person": person})
        return Launch.model_validate_json(answer.content)

    async def ended(self, run_id: str, how: ProcessExit, *, out_of_memory: bool) -> None:
        told = how.model_copy(update={"out_of_memory": out_of_memory or how.out_of_memory})
        await self.tell(f"runs/{run_id}/ended", told.model_dump(mode="json"))

    async def tell(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Post a body to a path of the control plane.

        Raises:
            Unavailable: it does not answer, or not as itself.
            ElementError: what it refuses with.
        """
        if self._http is None:  # a client belongs to the event loop that first uses it
            self._http = httpx.AsyncClient(headers=self._headers, timeout=_TIMEOUT, trust_env=False)
        try:
            answer = await self._http.post(f"{self._url}/{path}", json=body)
        except httpx.TransportError as error:
            raise Unavailable("Element's control plane does not answer.", "Try again.") from error
        if answer.is_error:
            try:
                problem = Problem.model_validate_json(answer.content)
            except ValidationError:
                raise Unavailable(
                    f"Element's control plane answered with status {answer.status_code}."
                ) from None
            raise ElementError.from_problem(problem)
        return answer

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
