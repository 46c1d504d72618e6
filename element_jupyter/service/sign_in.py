"""Who a token belongs to: a service, the process of a run, or a person."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping

from element_jupyter.core.access import Person, RunToken, Who
from element_jupyter.core.errors import Forbidden


class LocalSignIn:
    """Knows one person by one token, and asks the runs about every other."""

    def __init__(
        self, digest: bytes, person: Person, run_of: Callable[[str], Awaitable[RunToken | None]]
    ) -> None:
        """Name the `digest` of the one token (`digest_of`)."""
        self._digest = digest
        self._person = person
        self._run_of = run_of

    async def __call__(self, token: str) -> Who | None:
        # digests have one length, and tell a guesser nothing of how far it got
        if hmac.compare_digest(digest_of(token), self._digest):
            return self._person
        return await self._run_of(token)


class HubSignIn:
    """Knows the people of a Hub too, and the services that the platform has given tokens to."""

    def __init__(
        self,
        local: LocalSignIn,
        services: Mapping[bytes, Who],
        whoami: Callable[[str], Awaitable[Person | None]],
    ) -> None:
        """Name the `services` by the digests of their tokens, and who asks the Hub."""
        self._local = local
        self._services = dict(services)
        self._whoami = whoami

    async def __call__(self, token: str) -> Who | None:
        """Return whose a token is; None when it is nobody's.

        Raises:
            Forbidden: it is that of somebody who is suspended.
            Unavailable: the Hub does not answer.
        """
        given = digest_of(token)
        for digest, service in self._services.items():
            if hmac.compare_digest(given, digest):
                return service
        if (who := await self._local(token)) is not None:
            return who
        person = await self._whoami(token)
        if person is not None and person.suspended:
            raise Forbidden(
                f"{person.name} is suspended.",
                "Ask an administrator of the Hub, or of your directory.",
            )
        return person


def digest_of(token: str) -> bytes:
    """Return what is kept of a token and compared."""
    return hashlib.sha256(token.encode()).digest()
