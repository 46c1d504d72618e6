"""Who may sign in, put together: the rules of `teams.yaml`, accounts and keys of the Hub."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.config import Element
from element_jupyter.core.teams import TeamRules
from element_jupyter.hub.authentication import accounts
from element_jupyter.hub.authentication.local import ElementLocalAuthenticator
from element_jupyter.platform.data import Data
from element_jupyter.platform.hub.setup import Secret

_ANSWER_SECONDS: Final = 30.0
"""A directory that does not answer is waited for by the Hub, who then answers without it."""
_log = logging.getLogger(__name__)


def configure_authentication(
    c: Any, settings: Element, rules: AdminFile[TeamRules], *, invitations: bool = True
) -> None:
    """Let people sign in with accounts of the Hub, or as the configuration says afterwards.

    `jupyterhub_config.py` may choose another class, `element-ldap` or `element-oidc`: the rules
    and the key that are set here serve every one.

    Args:
        c: the Hub's configuration.
        invitations: off where the Hub serves one person.
    """
    data = Data(settings.data)
    data.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    c.JupyterHub.authenticator_class = ElementLocalAuthenticator
    c.TeamsFromRules.rules = lambda: rules.value
    c.ElementLocalAuthenticator.accounts_file = str(_accounts_file(settings))
    c.LimitedAttempts.attempts_file = str(_accounts_file(settings).with_name("attempts.sqlite"))
    c.ElementLocalAuthenticator.invitations = invitations
    # what the platform does by its own token is done for this person, from the first moment on
    accounts.Accounts(_accounts_file(settings)).ensure_administrator(settings.owner)
    # what providers hand out for people is kept encrypted with it
    c.CryptKeeper.keys = [data.fernet_key("hub-auth-state").encode()]


def first_admin_link(settings: Element, public_url: str) -> str | None:
    """Make the link by which the first administrator signs up; None when there is one."""
    return accounts.first_admin_link(_accounts_file(settings), public_url, settings.owner)


@dataclass(frozen=True)
class SignIn:
    """How people sign in at a Hub that runs, as it says itself."""

    accounts: bool
    """Whether it has accounts of its own, and so the owner a password here."""
    source: str
    admins: tuple[str, ...]
    """People and groups that `teams.yaml` names."""
    owner: str
    """`here`, `not yet` or `nobody`: what the Hub knows of `Element.owner`."""


async def ask_sign_in(settings: Element, api_url: str) -> SignIn | None:
    """Ask the Hub how people sign in; None of one that does not know our authenticators."""
    token = Secret.CONTROL_PLANE.of(Data(settings.data))
    async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
        try:
            answer = await client.get(
                f"{api_url}/element/sign-in",
                params={"owner": settings.owner},
                headers={"Authorization": f"token {token}"},
            )
            said = answer.raise_for_status().json()
        except httpx.HTTPError as error:
            _log.warning("The Hub does not say how people sign in: %s", error)
            return None
    return SignIn(said["accounts"], said["source"], tuple(said["admins"]), said["owner"])


def _accounts_file(settings: Element) -> Path:
    directory = settings.data / "hub"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / "people.sqlite"
