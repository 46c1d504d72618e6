"""The control plane's REST interface, for a program that may block: the `element` command.

What is answered as a `Problem` is raised as the error that it was; no answer at all is
`Unavailable`. The address is asked for at each connection, since a restart may change the port.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from element_jupyter.core.errors import Conflict, ElementError, Invalid, Problem, Unavailable
from element_jupyter.core.runs import EVENT, Event
from element_jupyter.core.snapshots import Manifest

Document = dict[str, Any]

START_HINT: Final = "Start it with `element up`."
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
_UPLOADS: Final = 4
_DIGESTS_PER_QUESTION: Final = 5_000
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 3.0


class Address(NamedTuple):
    """Where the control plane answers, and the token that it wants."""

    url: str
    token: str


@dataclass(frozen=True)
class Told:
    """One event of a run, with its id in the stream."""

    id: str
    event: Event


class ServiceClient:
    """Asks the control plane; safe to use from several threads."""

    def __init__(self, address: Callable[[], Address]) -> None:
        self._address = address
        self._http = httpx.Client(
            timeout=_TIMEOUT,
            trust_env=False,
            headers={"Accept": "application/json"},
            # nothing stays open between questions, so there is nothing to close
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def get(self, *path: str, **query: str | int | None) -> Any:
        return self._answer("GET", path, params=_given(query)).json()

    def post(self, *path: str, body: Any = None, **query: str | int | None) -> Any:
        return self._answer("POST", path, params=_given(query), json=body or {}).json()

    def put(
        self, *path: str, body: Any, version: int | None = None, **query: str | int | None
    ) -> Any:
        """Store a document; with `version`, only if that is what is there.

        Raises:
            Conflict: another version is there.
        """
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        answer = self._answer("PUT", path, params=_given(query), json=body, headers=headers)
        return answer.json() if answer.content else None

    def delete(self, *path: str) -> None:
        self._answer("DELETE", path)

    def content(self, *path: str) -> bytes:
        return self._answer("GET", path).content

    def download(self, *path: str, **query: str | int | None) -> Iterator[bytes]:
        """Yield a file as it comes; nothing is yielded before it is known to be one."""
        url, headers = self._target(path)
        try:
            with self._http.stream("GET", url, params=_given(query), headers=headers) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error(answer)
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise _silent(url) from error

    def pages(self, *path: str, **query: str | int | None) -> Iterator[Document]:
        """Yield the pages of a long list."""
        cursor: str | None = None
        while True:
            page = self.get(*path, **{**query, "cursor": cursor})
            yield page
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def items(
        self, *path: str, at_most: int | None = None, **query: str | int | None
    ) -> Iterator[Document]:
        """Yield the items of a long list, page after page."""
        limit = 100 if at_most is None else min(100, at_most)
        found = (item for page in self.pages(*path, **query, limit=limit) for item in page["items"])
        yield from islice(found, at_most)

    # ------------------------------------------------------------------------------------- events

    def events(self, run_id: str) -> Iterator[Told]:
        """Yield what a run has told so far."""
        after = 0
        while True:
            page = self.get("runs", run_id, "events", after=after)
            for item in page["items"]:
                event = EVENT.validate_python(item)
                after = event.sequence
                yield Told(str(after), event)
            # the cursor of a run that goes on leads to what it has not told yet
            if page["next_cursor"] is None or not page["items"]:
                return

    def follow(
        self, run_id: str, after: str = "0", *, patience_seconds: float = 60
    ) -> Iterator[Told]:
        """Yield a run's events after one of them until the run has ended and all is told.

        A stream that breaks is taken up again where it broke, each event once.

        Raises:
            Unavailable: the control plane has been gone for `patience_seconds`.
            NotFound: there is no such run.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        gone_since: float | None = None
        while True:
            try:
                for told in self._stream(run_id, after):
                    if told is None:
                        return
                    after, gone_since, pause_seconds = told.id, None, _FIRST_PAUSE_SECONDS
                    yield told
            except Unavailable:
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > patience_seconds:
                    raise
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _stream(self, run_id: str, after: str) -> Iterator[Told | None]:
        """Yield what one connection tells; None once it has said that this is all."""
        url, headers = self._target(("runs", run_id, "events"))
        headers |= {"Accept": "text/event-stream", "Last-Event-ID": after}
        try:
            with self._http.stream("GET", url, headers=headers) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error(answer)
                fields: dict[str, str] = {}
                for line in answer.iter_lines():
                    if line:
                        name, _, value = line.partition(":")
                        fields[name] = fields.get(name, "") + value.removeprefix(" ")
                        continue
                    match fields.get("event"):
                        case "end":
                            yield None
                            return
                        case "problem":
                            raise ElementError.from_problem(
                                Problem.model_validate_json(fields["data"])
                            )
                        case None if "data" in fields:
                            event = EVENT.validate_json(fields["data"])
                            yield Told(fields.get("id", after), event)
                    fields = {}
        except httpx.TransportError as error:
            raise _silent(url) from error

    # ------------------------------------------------------------------------------------- upload

    def upload(
        self,
        manifest: Manifest,
        sources: Mapping[str, Path],
        progress: Callable[[int, int], None] | None = None,
    ) -> str:
        """Store what is missing of a scanned project, its manifest last; return the snapshot id.

        `progress` is told the bytes sent so far and the bytes to send, from several threads.

        Raises:
            Conflict: a file has changed since it was scanned.
        """
        missing = self._missing(manifest.digests)
        sizes = {entry.digest: entry.size_bytes for entry in manifest.entries}
        total = sum(sizes[digest] for digest in missing)
        sent, lock = 0, threading.Lock()

        def send(digest: str) -> None:
            nonlocal sent
            self._put_file(digest, sources[digest], sizes[digest])
            with lock:
                sent += sizes[digest]
                if progress:
                    progress(sent, total)

        with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload") as pool:
            futures = [pool.submit(send, digest) for digest in sorted(missing)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self._answer("PUT", ("blobs", manifest.snapshot_id), content=manifest.to_json())
        return manifest.snapshot_id

    def _missing(self, digests: frozenset[str]) -> set[str]:
        missing: set[str] = set()
        ordered = sorted(digests)
        for start in range(0, len(ordered), _DIGESTS_PER_QUESTION):
            some = ordered[start : start + _DIGESTS_PER_QUESTION]
            missing.update(self.post("snapshots", "missing", body={"digests": some})["missing"])
        return missing

    def _put_file(self, digest: str, path: Path, size_bytes: int) -> None:
        changed = Conflict(f"'{path}' has changed while it was read.", "Try again.")
        try:
            with open(path, "rb", opener=_as_it_is) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise changed
                self._answer(
                    "PUT",
                    ("blobs", digest),
                    content=file,
                    headers={"Content-Length": str(size_bytes)},
                )
        except (OSError, httpx.LocalProtocolError) as error:
            raise changed from error
        except Invalid as error:
            if error.field == "digest":
                raise changed from error
            raise

    # ------------------------------------------------------------------------------------ requests

    def _target(self, path: tuple[str, ...]) -> tuple[str, dict[str, str]]:
        address = self._address()
        inside = "/".join(quote(part, safe="") for part in path)
        return f"{address.url}/api/v1/{inside}", {"Authorization": f"Bearer {address.token}"}

    def _answer(self, verb: str, path: tuple[str, ...], **options: Any) -> httpx.Response:
        url, authorization = self._target(path)
        options["headers"] = {**options.get("headers", {}), **authorization}
        try:
            answer = self._http.request(verb, url, **options)
        except httpx.LocalProtocolError:
            raise
        except httpx.TransportError as error:
            raise _silent(url) from error
        if answer.is_success:
            return answer
        raise _error(answer)


def _given(query: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def _as_it_is(path: str, flags: int) -> int:
    """Open what is there, be it a pipe that nobody writes, and not what a link names."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _silent(url: str) -> Unavailable:
    place = url.partition("/api/")[0]
    return Unavailable(f"The control plane does not answer at {place}.", START_HINT)


def _error(answer: httpx.Response) -> ElementError:
    try:
        return ElementError.from_problem(Problem.model_validate(json.loads(answer.content)))
    except (ValueError, ValidationError):
        place = answer.request.url
        return Unavailable(
            f"What answers at {place.scheme}://{place.netloc.decode()} is not Element "
            f"(status {answer.status_code}).",
            "See `element status`.",
        )
