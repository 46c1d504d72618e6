"""The Hub's answer to a browser's sign-in: a token of that person, for a code."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx

from element_jupyter.core.errors import Forbidden, Unavailable

_TIMEOUT: Final = httpx.Timeout(15.0, connect=3.0)


class HubOAuth:
    """One of the Hub's services, as a client of its OAuth."""

    def __init__(self, api_url: str, token_file: Path, client_id: str, redirect_path: str) -> None:
        """`api_url` ends in `/hub/api`; `token_file` holds the token of the service."""
        self.client_id = client_id
        self.redirect_path = redirect_path
        self._token_file = token_file
        self._http = httpx.AsyncClient(base_url=api_url, timeout=_TIMEOUT, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def token_for(self, code: str, verifier: str) -> str:
        """Change a code into a token, which lives as long as the browser's session at the Hub.

        Raises:
            Forbidden: the Hub does not accept it.
            Unavailable: the Hub does not answer.
        """
        try:
            answer = await self._http.post(
                "/oauth2/token",
                data={
                    "client_id": self.client_id,
                    "client_secret": self._token_file.read_text(encoding="ascii").strip(),
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": self.redirect_path,
                    "code_verifier": verifier,
                },
            )
        except (httpx.TransportError, OSError) as error:
            raise Unavailable("The Hub does not answer.", "Try again in a moment.") from error
        if answer.is_server_error:
            raise Unavailable("The Hub does not answer.", "Try again in a moment.")
        if answer.is_error:
            raise Forbidden("The Hub did not accept this sign-in.", "Sign in again.")
        return str(answer.json()["access_token"])
