"""Pages on Tornado: the mechanism of every request of REST, answered for people."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from element_jupyter.core.access import Action, Person, Who
from element_jupyter.core.errors import ElementError, Forbidden, Unauthenticated, Unavailable
from element_jupyter.core.places import SERVICE_PREFIX
from element_jupyter.service.http import PUBLIC, Answer, FileAnswer, Route, allow, path_pattern
from element_jupyter.service.mount import RouteHandler
from element_jupyter.service.mounted import Mounted
from element_jupyter.service.pages.browser import (
    CALLBACK_PATH,
    SIGN_IN_PATH,
    SIGN_OUT_PATH,
    XSRF_HEADER,
    Browser,
    Redirect,
)
from element_jupyter.service.pages.every import PAGES
from element_jupyter.service.pages.frame import STATIC, Frame, Link
from element_jupyter.service.pages.view import View

log = logging.getLogger(__name__)

_FOREVER: Final = "public, max-age=31536000, immutable"
_STATIC: Final = f"{SERVICE_PREFIX}static/{{version}}/{{path:path}}"


class Pages:
    """What the pages of one control plane share."""

    def __init__(
        self, browser: Browser, *, views: Sequence[View] = PAGES, links: Sequence[Link] = ()
    ) -> None:
        self.browser = browser
        self.views = tuple(views)
        self.frame = Frame(self.views, links)
        own, hub = f"{browser.origin}{SERVICE_PREFIX}static/", f"{browser.origin}/hub/static/"
        self.policy = (
            "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
            f"script-src {own} {hub}; style-src {own} {hub}; font-src {hub}; "
            f"img-src {own} {browser.origin}/hub/ data:; "
            f"connect-src {browser.origin}{SERVICE_PREFIX}"
        )

    def handlers(self, mounted: Mounted) -> list[Any]:
        """Return Tornado's handlers of all pages, of sign-in, and of what pages load."""
        given = {"mounted": mounted, "pages": self}
        found: list[Any] = [
            (path_pattern(_STATIC), StaticHandler, given | _get(_STATIC, send_static))
        ]
        for path, function in (
            (SIGN_IN_PATH, self.browser.begin),
            (CALLBACK_PATH, self.browser.finish),
            (SIGN_OUT_PATH, self.browser.sign_out),
            (SERVICE_PREFIX.rstrip("/"), _to_first),
        ):
            found.append((path_pattern(path), PageHandler, given | _get(path, function)))
        for view in self.views:
            read = allow(Action.READ)
            route = Route(view.method, view.address, view.load, access=read, at_root=True)
            said = {"verbs": {view.method: route}, "view": view}
            found.append((path_pattern(view.address), PageHandler, given | said))
        return found


class PageHandler(RouteHandler):
    """One request of one page."""

    def initialize(
        self,
        verbs: Mapping[str, Route],
        mounted: Mounted,
        pages: Pages | None = None,
        view: View | None = None,
    ) -> None:
        assert pages is not None  # noqa: S101 - `Pages.handlers` gives it
        self.pages = pages
        self.view = view
        super().initialize(verbs, mounted)
        self.set_default_headers()  # once more, now that it is known what pages there are

    def set_default_headers(self) -> None:
        super().set_default_headers()
        if (pages := getattr(self, "pages", None)) is not None:
            self.set_header("Content-Security-Policy", pages.policy)
        self.set_header("Referrer-Policy", "same-origin")
        # a page that opens this one in a window gets no hold of it, be it of this origin
        self.set_header("Cross-Origin-Opener-Policy", "noopener-allow-popups")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    async def _answer(self, route: Route, arguments: dict[str, Any]) -> None:
        if self.view is not None and self.view.file:
            self.set_header("Content-Disposition", f'attachment; filename="{self.view.file}"')
        await super()._answer(route, arguments)

    async def _admit(self) -> None:
        await super()._admit()
        if self.view is not None and isinstance(self.who, Person):
            self.view.check(self.who, self._contact())

    def _contact(self) -> str:
        """Return whom the quotas name to be asked."""
        try:
            return str(self.mounted.services.policies.in_force().contact)
        except ElementError:
            return "an administrator of this Hub"

    async def _caller(self) -> Who | None:
        return await self.pages.browser.at_page(self.request)

    def _send_value(self, route: Route, answer: Answer[Any]) -> None:
        if isinstance(answer.body, Redirect):
            self._lead(answer.body)
            return
        if self.view is None or not self.view.template:
            super()._send_value(route, answer)
            return
        self._show(self.view.template, answer.body, self.view.title)

    def _lead(self, redirect: Redirect) -> None:
        for each in redirect.cookies:
            self.set_cookie(
                each.name,
                each.text,
                path=each.path,
                max_age=each.seconds if each.text else 0,
                httponly=True,
                secure=self.pages.browser.secure,
                samesite="Lax",
            )
        self.set_status(HTTPStatus.FOUND)
        self.set_header("Location", redirect.location)
        self.finish()

    def _show(self, template: str, values: Mapping[str, Any], title: str) -> None:
        session = self.pages.browser.session(self.request)
        html = self.pages.frame.render(
            template,
            values,
            title=title,
            who=self.who if isinstance(self.who, Person) else None,
            xsrf=session.xsrf if session and self.who else "",
            page=self.view,
            path=self.request.uri or "",
        )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(html)

    def _answer_error(self, error: BaseException) -> None:
        if self._finished:
            return
        by_script = XSRF_HEADER in self.request.headers
        if self._headers_written or by_script:
            super()._answer_error(error)
            return
        if isinstance(error, Unauthenticated) and self.view is not None:
            self._lead(Redirect(self.pages.browser.sign_in_path(self.request)))
            return
        problem, status = self._problem(error)
        self.clear()
        self.set_status(status)
        title = self.view.title if self.view is not None else "Sign in"
        kind = "forbidden" if isinstance(error, Forbidden) else "failed"
        asked = {
            "problem": problem,
            "kind": kind,
            "again": isinstance(error, Unavailable) or not isinstance(error, ElementError),
        }
        self._show("problem.html", asked, title)


class StaticHandler(PageHandler):
    """What pages load; nothing in it is anybody's."""

    async def _send_file(self, answer: FileAnswer) -> None:
        self.set_header("Cache-Control", _FOREVER)
        self.clear_header("Content-Disposition")
        await super()._send_file(answer)


class Alone(RouteHandler):
    """Says, where no Hub signs people in, why there are no pages, and what tells the same."""

    async def _run(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_status(HTTPStatus.NOT_FOUND)
        await self.finish(_ALONE)


def without_hub(mounted: Mounted) -> list[Any]:
    """Return the handler of where the pages would be."""
    return [(path_pattern(SERVICE_PREFIX), Alone, {"verbs": {}, "mounted": mounted})]


async def send_static(services: Any, *, version: str, path: str) -> FileAnswer:  # noqa: ARG001
    """Send one of the files; the version is for the browser, which keeps them."""
    return FileAnswer(STATIC, path, attachment=False)


async def _to_first(services: Any) -> Redirect:  # noqa: ARG001 - a route
    return Redirect(SERVICE_PREFIX)


def _get(path: str, function: Any) -> dict[str, Any]:
    return {"verbs": {"GET": Route("GET", path, function, access=PUBLIC, at_root=True)}}


_ALONE: Final = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><title>Element</title>"
    "<h1>No pages here</h1>"
    "<p>Pages of quotas and usage need somebody who signs in, and here is no Hub to sign in at: "
    "this platform serves the one person whose token is in its data directory. "
    "<code>element usage</code>, <code>element quota</code> and <code>element audit</code> tell "
    "the same. With <code>Element.hub</code> set, <code>element up</code> starts a Hub.</p></html>"
)
