"""The sessions of a person: begun anew at each sign-in, and ended when they must be."""

from __future__ import annotations

import secrets
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import utcnow


def begin_session(handler: Any) -> None:
    """Give the browser a session id that nobody knew before; whoever planted one has nothing."""
    handler._session_id = secrets.token_hex(16)  # noqa: SLF001 - the Hub has no other door to it
    handler.set_session_cookie()


def end_sessions(user: Any, *, signed_in: bool = False) -> None:
    """End what browsers hold of a person: in servers and services, and in the Hub itself.

    Args:
        signed_in: leave the Hub's own cookie alone, since the authenticator asks there anyway.
    """
    database = user.db
    now = utcnow(with_tz=False)
    # not deleted: the request that is being answered may use one of them
    held = database.query(orm.APIToken).filter(
        orm.APIToken.user_id == user.id,
        orm.APIToken.session_id.isnot(None),
        (orm.APIToken.expires_at.is_(None)) | (orm.APIToken.expires_at > now),
    )
    for token in held:
        token.expires_at = now
    for code in database.query(orm.OAuthCode).filter_by(user_id=user.id):
        database.delete(code)
    if not signed_in:
        user.orm_user.cookie_id = orm.new_token()
    user._auth_refreshed = None  # noqa: SLF001 - so that it is asked at the next request
    database.commit()
