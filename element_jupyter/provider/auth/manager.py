"""`HubAuthManager`: Airflow's people are the Hub's, and what they may do follows from their teams.

A cookie or token of Airflow is an envelope around a token of the Hub, which is asked about it again
every 20 seconds: whoever leaves a group, signs out or is suspended notices it everywhere.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.models.asset import AssetModel
from airflow.models.crypto import get_fernet
from airflow.utils.session import create_session
from fastapi import HTTPException, status

from element_jupyter.core.errors import Unavailable
from element_jupyter.core.teams import Level
from element_jupyter.provider.auth.guard import Guard
from element_jupyter.provider.auth.people import People
from element_jupyter.provider.auth.rights import MENU, HubUser, may, may_as, team_of
from element_jupyter.provider.settings import settings

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.batch_apis import IsAuthorizedDagRequest
    from airflow.api_fastapi.auth.managers.models.resource_details import (
        AssetDetails,
        DagAccessEntity,
        DagDetails,
    )
    from airflow.api_fastapi.common.types import MenuItem
    from fastapi import FastAPI

    from element_jupyter.core.orchestration import HubAddress

CONTROL_PLANE = HubUser("element", admin=True)
_EVERYBODYS_VIEWS = frozenset({AccessView.DOCS, AccessView.WEBSITE})


class HubAuthManager(BaseAuthManager[HubUser]):
    """Airflow's auth manager where people sign in at a Hub; `[core] auth_manager` names it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        given = settings()
        if given.hub is None:
            raise Unavailable(
                "Airflow was not told where the Hub is.",
                "Start it with `element up`, which writes [element] of airflow.cfg.",
            )
        self.hub: HubAddress = given.hub
        self._control_plane_digest = given.control_plane_digest
        self._people = People(self.hub)

    # -------------------------------------------------------------------------- who it is

    async def get_user_from_token(self, token: str) -> HubUser:
        """Return who a cookie, a token of Airflow, or a token of the Hub belongs to."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        if hmac.compare_digest(digest, self._control_plane_digest):
            return CONTROL_PLANE
        if token.count(".") != 2:  # of three parts is a token of Airflow alone
            return await self.user_of_hub_token(token)
        claimed: Any = await super().get_user_from_token(token)
        hub_token = self.unseal(claimed.sealed)
        if hub_token is None:
            raise _signed_out()
        user = await self.user_of_hub_token(hub_token)
        if user.name != claimed.name:
            raise _signed_out()
        return user

    async def user_of_hub_token(self, token: str) -> HubUser:
        """Return who a token of the Hub belongs to; raises `HTTPException` for one who may not."""
        user = await self._people.of_token(token)
        if user.is_suspended:
            raise HTTPException(
                status.HTTP_403_FORBIDDEN,
                f"{user.name} is suspended and may see nothing here. Ask an administrator.",
            )
        return replace(user, sealed=self.seal(token))

    def serialize_user(self, user: HubUser) -> dict[str, Any]:
        """Return what a token of Airflow says of a user: the name, and the Hub's token, sealed."""
        return {"sub": user.name, "hub": user.sealed}

    def deserialize_user(self, token: dict[str, Any]) -> HubUser:
        """Return the user of such a token, of whom nothing else is known yet."""
        return HubUser(token["sub"], sealed=token["hub"])

    def seal(self, text: str) -> str:
        """Encrypt what a browser is to keep."""
        return get_fernet().encrypt(text.encode()).decode()

    def unseal(self, sealed: str, seconds: int | None = None) -> str | None:
        """Decrypt what a browser has kept, for at most so long; None when it is not ours."""
        try:
            return get_fernet().decrypt(sealed.encode(), ttl=seconds).decode()
        except Exception:  # noqa: BLE001 - the library, which is Airflow's, has its own
            return None

    def revoke_token(self, token: str) -> None:
        """Revoke a token of Airflow; one of the Hub is revoked there."""
        if token.count(".") == 2:
            super().revoke_token(token)

    def get_url_login(self, **_: Any) -> str:
        return f"{self.hub.prefix}/auth/login"

    def get_url_logout(self) -> str:
        return f"{self.hub.prefix}/auth/logout"

    def get_fastapi_app(self) -> FastAPI:
        # only the web server needs it
        from element_jupyter.provider.auth.sign_in import application

        return application(self)

    def get_fastapi_middlewares(self) -> list[Any]:
        return [(Guard, {"origin": self.hub.public_url, "prefix": self.hub.prefix})]

    # ---------------------------------------------------------------------- what they may

    def is_authorized_dag(
        self,
        *,
        method: str,
        user: HubUser,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        return may(user, method, access_entity, details.id if details else None)

    def batch_is_authorized_dag(
        self, requests: Sequence[IsAuthorizedDagRequest], *, user: HubUser
    ) -> bool:
        # no request at all means that Airflow could not tell which DAGs are meant
        return user.admin or (
            bool(requests) and super().batch_is_authorized_dag(requests, user=user)
        )

    def filter_authorized_dag_ids(
        self,
        *,
        dag_ids: set[str],
        user: HubUser,
        method: str = "GET",
        team_name: str | None = None,
    ) -> set[str]:
        return {dag_id for dag_id in dag_ids if may(user, method, None, dag_id)}

    def is_authorized_asset(
        self, *, method: str, user: HubUser, details: AssetDetails | None = None
    ) -> bool:
        # the list of all is not filtered by Airflow
        asset_id = details.id if details else None
        if user.admin or asset_id is None or not str(asset_id).isdecimal():
            return user.admin
        needed = {"GET": Level.VIEWER, "POST": Level.MEMBER}.get(method)
        return needed is not None and may_as(user, needed, _team_of_asset(int(asset_id)))

    def is_authorized_asset_alias(self, *, user: HubUser, **_: Any) -> bool:
        return user.admin

    def is_authorized_configuration(self, *, user: HubUser, **_: Any) -> bool:
        return user.admin

    def is_authorized_connection(self, *, user: HubUser, **_: Any) -> bool:
        return user.admin

    def is_authorized_pool(self, *, user: HubUser, **_: Any) -> bool:
        return user.admin

    def is_authorized_variable(self, *, user: HubUser, **_: Any) -> bool:
        return user.admin

    def is_authorized_team(self, *, user: HubUser, **_: Any) -> bool:
        return user.admin

    def is_authorized_custom_view(self, *, user: HubUser, **_: Any) -> bool:
        return user.admin

    def is_authorized_view(self, *, access_view: AccessView, user: HubUser) -> bool:
        # import errors are not: those of a file that never was a DAG are shown to all
        return user.admin or (not user.is_suspended and access_view in _EVERYBODYS_VIEWS)

    def filter_authorized_menu_items(
        self, menu_items: list[MenuItem], *, user: HubUser
    ) -> list[MenuItem]:
        return [item for item in menu_items if user.admin or item in MENU]


def _team_of_asset(asset_id: int) -> str | None:
    """Return the team of the job that an asset is, whose name is `team/job`."""
    with create_session() as session:
        asset = session.get(AssetModel, asset_id)
        name = asset.name if asset is not None else ""
    return team_of(name.replace("/", "--", 1)) if "/" in name else None


def _signed_out() -> HTTPException:
    return HTTPException(
        status.HTTP_401_UNAUTHORIZED, "This sign-in is not valid any longer. Sign in again."
    )
