"""Who may sign in, put together: the rules of `teams.yaml`, accounts and keys of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.config import Element
from element_jupyter.core.teams import TeamRules
from element_jupyter.hub.authentication import accounts
from element_jupyter.hub.authentication.local import ElementLocalAuthenticator
from element_jupyter.platform.data import Data


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
    c.ElementLocalAuthenticator.invitations = invitations
    # what the platform does by its own token is done for this person, from the first moment on
    accounts.Accounts(_accounts_file(settings)).ensure_administrator(settings.owner)
    # what providers hand out for people is kept encrypted with it
    c.CryptKeeper.keys = [data.fernet_key("hub-auth-state").encode()]


def first_admin_link(settings: Element, public_url: str) -> str | None:
    """Make the link by which the first administrator signs up; None when there is one."""
    return accounts.first_admin_link(_accounts_file(settings), public_url, settings.owner)


def _accounts_file(settings: Element) -> Path:
    directory = settings.data / "hub"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / "people.sqlite"
