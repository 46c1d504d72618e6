"""Routes on Tornado: the mechanism of every request, once.

In this order: the Host header, the verb, sign-in, access, the size of the body, parameters, body,
the function, its answer. Whatever goes wrong on the way is answered as a `Problem`. The body of a
request that is refused is discarded as it comes, since a client that is still sending when the
connection closes never sees why; one over `DISCARD_BYTES` is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote

from pydantic import TypeAdapter
from tornado import web
from tornado.iostream import StreamClosedError

from element_jupyter.core.access import Person, Who
from element_jupyter.core.audit import Noted, noting
from element_jupyter.core.errors import (
    ElementError,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    TooLarge,
    Unavailable,
)
from element_jupyter.service.files import open_inside
from element_jupyter.service.http import (
    PUBLIC,
    Answer,
    BlobAnswer,
    Download,
    EventStream,
    FileAnswer,
    Route,
    TextAnswer,
    path_pattern,
)
from element_jupyter.service.mounted import Mounted
from element_jupyter.service.spool import Spool

log = logging.getLogger(__name__)

API = "/api/v1"
CHUNK_BYTES = 1 << 20
DISCARD_BYTES = 50_000_000
EVENTS_PER_FLUSH = 200
CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""What a browser may do with an answer that it shows: a notebook's HTML is not to be trusted."""


_JSON: TypeAdapter[Any] = TypeAdapter(Any)


def handlers(
    routes: Iterable[Route], mounted: Mounted, prefixes: Iterable[str] = (API,)
) -> list[Any]:
    """Return the Tornado handlers of the routes, and one for every other path.

    What is at the root is there only, and not below any of the `prefixes`.
    """
    by_path: dict[str, dict[str, Route]] = defaultdict(dict)
    for route in routes:
        for path in [route.path] if route.at_root else [each + route.path for each in prefixes]:
            if route.method in by_path[path]:
                raise TypeError(f"{route.method} {path} is there twice")
            by_path[path][route.method] = route
    # a path with fewer parameters is the more exact one: /jobs/a before /jobs/{name}
    ordered = sorted(by_path, key=lambda path: (path.count("{"), path))
    return [
        *(
            (path_pattern(path), RouteHandler, {"verbs": by_path[path], "mounted": mounted})
            for path in ordered
        ),
        (r".*", RouteHandler, {"verbs": {}, "mounted": mounted}),
    ]


@web.stream_request_body
class RouteHandler(web.RequestHandler):
    """One request of one path."""

    def initialize(self, verbs: Mapping[str, Route], mounted: Mounted) -> None:
        self.verbs = verbs
        self.mounted = mounted
        self.route = NOWHERE
        self.who: Who | None = None
        self.arguments: dict[str, Any] = {}
        self.content = bytearray()
        self.upload: Spool | None = None
        self.received_bytes = self.limit_bytes = 0
        self.refused: Exception | None = None
        self.undecodable = self.body_has_come = False
        self.work: asyncio.Task[Any] | None = None
        self.noted = Noted()
        self.began = time.monotonic()

    def set_default_headers(self) -> None:
        self.set_header("Server", "Element")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", CONTENT_POLICY)

    # ------------------------------------------------------------------------------ before the body

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Leave it to `_admit` to refuse what is not UTF-8: Tornado would not await the body."""
        try:
            return value.decode()
        except UnicodeDecodeError:
            self.undecodable = True
            return ""

    async def prepare(self) -> None:
        if task := asyncio.current_task():
            self.mounted.busy.add(task)
            task.add_done_callback(self.mounted.busy.discard)
        try:
            await self._admit()
        except Exception as error:  # noqa: BLE001 - answered, once the body has come
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        length = self.request.headers.get("Content-Length", "0")
        over = length.isdigit() and int(length) > DISCARD_BYTES
        if over or "Expect" in self.request.headers:
            self._answer_error(error)  # and Tornado closes the connection
        else:
            self.refused = error

    async def _admit(self) -> None:
        self._check_host()
        if self.undecodable:
            raise Invalid("The address is not UTF-8.")
        self.route = self.verbs.get(self.request.method or "", NOWHERE)
        if self.route is NOWHERE:
            self._no_route()
        if self.route.access.action is not None:
            self.who = await self._caller()
        with noting(self.noted):
            self.route.access.check(self.who, self.path_kwargs)
        limit = self.route.body_limit_bytes
        self.limit_bytes = limit(self.mounted.services) if callable(limit) else limit
        length = self.request.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > self.limit_bytes:
            self._too_large()
        self.arguments = self.route.bind_parameters(
            self.path_kwargs, self._query(), self.request.headers
        )
        if self.route.takes_upload:
            self.upload = await asyncio.to_thread(Spool.make, self.mounted.spool)

    def _check_host(self) -> None:
        host = re.sub(r":\d+$", "", self.request.host.lower())
        if host not in self.mounted.hosts:
            raise Forbidden(
                "This service does not answer to that host name.",
                f"Use {' or '.join(sorted(self.mounted.hosts))}.",
            )

    def _no_route(self) -> NoReturn:
        if not self.verbs:
            raise NotFound(
                "There is nothing at this address.", f"GET {API}/openapi.json lists all."
            )
        raise _WrongVerb(self.request.method or "", sorted(self.verbs))

    async def _caller(self) -> Who | None:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in {"bearer", "token"} or not token.strip():
            recognise = self.mounted.browser
            return await recognise(self.request) if recognise is not None else None
        return await self.mounted.sign_in(token.strip())

    def _query(self) -> dict[str, list[str]]:
        try:
            return {
                name: [value.decode() for value in values]
                for name, values in self.request.query_arguments.items()
            }
        except UnicodeDecodeError:
            raise Invalid("The query is not UTF-8.") from None

    def _too_large(self) -> NoReturn:
        raise TooLarge(f"The body is larger than {self.limit_bytes:,} bytes.")

    # ------------------------------------------------------------------------------------- the body

    async def data_received(self, chunk: bytes) -> None:
        if self._finished:
            return
        self.received_bytes += len(chunk)
        if self.refused is not None:
            if self.received_bytes > DISCARD_BYTES:
                self._answer_error(self.refused)
            return
        try:
            if self.received_bytes > self.limit_bytes:
                self._too_large()
            if self.upload is None:
                self.content += chunk
            else:
                await self.upload.add(chunk)
        except Exception as error:  # noqa: BLE001 - answered like any other, which Tornado does not
            self.content.clear()
            self._discard_upload()
            self.refused = error

    async def get(self, **_: str) -> None:
        await self._run()

    post = put = delete = patch = head = options = get

    async def _run(self) -> None:
        self.body_has_come = True
        if self.refused is not None:
            self._answer_error(self.refused)
        if self._finished:
            return
        arguments = dict(self.arguments)
        if "who" in self.route.annotations:
            arguments["who"] = self.who
        if self.route.body is not None and (self.content or "body" not in self.route.defaults):
            arguments["body"] = self.route.bind_body(bytes(self.content))
        elif self.upload is not None:
            arguments["body"] = await self.upload.complete()
        self.work = asyncio.ensure_future(self._answer(self.route, arguments))
        answered = asyncio.Event()
        if self.route.method == "GET":
            self.mounted.waiting[self.work] = answered
        try:
            await self.work
        except Exception as error:  # noqa: BLE001 - Tornado's own way would end a broken stream well
            self._answer_error(error)
        except asyncio.CancelledError:
            # by `end_streams`, or since the reader went away
            self._answer_error(Unavailable("The service is stopping.", "Try again in a moment."))
        finally:
            self.mounted.waiting.pop(self.work, None)
            answered.set()

    async def _answer(self, route: Route, arguments: dict[str, Any]) -> None:
        try:
            with noting(self.noted):
                result = await route.function(self.mounted.services, **arguments)
            if self.mounted.audit is not None and isinstance(self.who, Person):
                await self.mounted.audit(
                    self.who, route, self.request, self.path_kwargs, self.noted
                )
            match result:
                case EventStream():
                    await self._stream(result)
                case FileAnswer():
                    await self._send_file(result)
                case BlobAnswer():
                    await self._send(result.file, result.size_bytes, "application/octet-stream")
                case Download():
                    await self._send_chunks(result)
                case TextAnswer():
                    self.set_header("Content-Type", result.media_type)
                    await self.finish(result.text)
                case Answer():
                    self._send_value(route, result)
                case _:
                    self._send_value(route, Answer(result))
        except StreamClosedError:
            log.debug("the reader of %s went away", self.request.path)

    def _send_value(self, route: Route, answer: Answer[Any]) -> None:
        self.set_status(answer.status or route.status)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if answer.etag is not None:
            self.set_header("ETag", f'"{answer.etag}"')
            if route.method == "GET" and self.check_etag_header():
                self.set_status(HTTPStatus.NOT_MODIFIED)
        if self.get_status() in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            self.finish()
            return
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(_JSON.dump_json(answer.body))

    def compute_etag(self) -> None:
        """Leave out Tornado's own: hashing every answer costs more than it saves."""

    # -------------------------------------------------------------------------------------- streams

    async def _stream(self, stream: EventStream[Any]) -> None:
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        events = aiter(stream.events)
        coming = asyncio.ensure_future(anext(events))
        unsent = 0
        recognised_at = time.monotonic()
        try:
            await self.flush()
            while True:
                done, _ = await asyncio.wait([coming], timeout=self.mounted.keep_alive_seconds)
                if time.monotonic() - recognised_at > self.mounted.recognised_seconds:
                    if await self._caller() != self.who:
                        self._cut()  # who comes back is let in as whom they are now, or is not
                        return
                    recognised_at = time.monotonic()
                if not done:
                    self.write(": still here\n\n")
                    await self.flush()
                    continue
                try:
                    key, event = coming.result()
                except StopAsyncIteration:
                    break
                self.write(b"id: %s\ndata: %s\n\n" % (str(key).encode(), _event_json(event)))
                unsent += 1
                coming = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                if unsent >= EVENTS_PER_FLUSH or not coming.done():
                    await self.flush()
                    unsent = 0
            self.write("event: end\ndata: {}\n\n")
            await self.finish()
        except ElementError as error:
            self.write(f"event: problem\ndata: {error.problem.model_dump_json()}\n\n")
            await self.finish()
        finally:
            coming.cancel()
            await asyncio.wait([coming])
            close = getattr(stream.events, "aclose", None)
            if close is not None:
                await close()

    def _cut(self) -> None:
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None:
            stream.close()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self.work is None:
            self._discard_upload()
        elif self.route.method == "GET":
            # what changes something is finished whether anybody listens or not
            self.work.cancel()

    # ---------------------------------------------------------------------------------------- files

    async def _send_file(self, answer: FileAnswer) -> None:
        file, size_bytes = await asyncio.to_thread(open_inside, answer.root, answer.path)
        name = answer.path.rsplit("/", 1)[-1]
        kind = answer.media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        place = "attachment" if answer.attachment else "inline"
        self.set_header("Content-Disposition", f"{place}; filename*=UTF-8''{quote(name, safe='')}")
        await self._send(file, size_bytes, kind)

    async def _send_chunks(self, answer: Download) -> None:
        chunks = aiter(answer.chunks)
        # what goes wrong before anything is sent is answered like any other error
        first = await anext(chunks, b"")
        self.set_header("Content-Type", answer.media_type)
        name = quote(answer.name, safe="")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{name}")
        self.write(first)
        await self.flush()
        async for chunk in chunks:
            self.write(chunk)
            await self.flush()
        await self.finish()

    async def _send(self, file: BinaryIO, size_bytes: int, kind: str) -> None:
        self.set_header("Content-Type", kind)
        self.set_header("Content-Length", str(size_bytes))
        left = size_bytes
        try:
            while left and (chunk := await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))):
                left -= len(chunk)
                self.write(chunk)
                await self.flush()
        finally:
            file.close()  # at once: a reader who goes away cancels what is awaited
        if left:
            log.warning("%s shrank while it was sent", self.request.path)
            self._cut()
            return
        await self.finish()

    # --------------------------------------------------------------------------------------- errors

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        self._answer_error(error or ElementError(HTTPStatus(status_code).phrase))

    def _answer_error(self, error: BaseException) -> None:
        if self._finished:
            return
        if self._headers_written:
            # a cut connection is the only honest end: the reader sees it and comes back
            if not isinstance(error, Unavailable):
                log.error("an answer to %s broke off", self.request.path, exc_info=error)
            self._cut()
            return
        problem, status = self._problem(error)
        self.clear()
        self.set_status(status)
        if not self.body_has_come:
            self.set_header("Connection", "close")  # Tornado does, and does not say so
        if isinstance(error, _WrongVerb):
            self.set_header("Allow", ", ".join(error.verbs))
        if status == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", "Bearer")
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(problem.model_dump_json())

    def _problem(self, error: BaseException) -> tuple[Problem, int]:
        if isinstance(error, _WrongVerb):
            return error.problem, HTTPStatus.METHOD_NOT_ALLOWED
        if isinstance(error, ElementError) and type(error) is not ElementError:
            return error.problem, error.status
        if isinstance(error, web.HTTPError) and error.status_code < 500:
            return Invalid("The address or a header is malformed.").problem, HTTPStatus.BAD_REQUEST
        number = secrets.token_hex(4)
        told = self.request.method, self.request.path
        log.error("error %s of %s %s", number, *told, exc_info=error)
        hint = f"The control plane's log tells more: look for error {number}."
        if isinstance(error, ElementError):
            hint = " ".join(filter(None, [error.hint, hint]))
            return error.problem.model_copy(update={"hint": hint}), error.status
        return Problem(
            code="failed", message="Something went wrong inside Element.", hint=hint
        ), 500

    def log_exception(self, *_: Any) -> None:
        """Leave it to `_problem`, which logs what was not expected, with its number."""

    def on_finish(self) -> None:
        self._discard_upload()
        seconds = time.monotonic() - self.began
        self.mounted.observe(self.route.method, self.route.path, self.get_status(), seconds)

    def _discard_upload(self) -> None:
        if self.upload is not None:
            self.upload.remove()
            self.upload = None


async def _nothing(_: Any) -> None: ...


NOWHERE = Route("GET", "other", _nothing, access=PUBLIC)
"""The route of a request that has none."""


class _WrongVerb(Invalid):
    def __init__(self, verb: str, verbs: list[str]) -> None:
        super().__init__(f"{verb} is not possible here.", f"Use {' or '.join(verbs)}.")
        self.verbs = verbs


def _event_json(event: Any) -> bytes:
    if isinstance(event, bytes):
        return event
    return event.encode() if isinstance(event, str) else _JSON.dump_json(event)
