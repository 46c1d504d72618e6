"""A package index for tests: a real HTTP server of wheels and sdists that a test declares.

    with PackageIndex() as index:
        index.wheel("tables", "1.0", requires=["chairs>=2"], files={"tables.py": "LEGS = 4"})
        index.wheel("chairs", "2.1")
        index.kernel()                          # a made-up ipykernel, when none has to start
        rules = Rules(index_urls=(index.url,), variables=…)

It answers as PEP 503 (HTML), PEP 691 (JSON), PEP 658 (metadata beside the wheel) and PEP 700 say, so
`uv`, `pip` and browsers understand it. Where a kernel must really start, put PyPI behind it:
`index_urls=(index.url, "https://pypi.org/simple")`.

What goes wrong is switched on by attributes, at any time, also while a client is at work:

    index.credentials = ("user", "password")    # 401 to everybody else
    index.status = 500                          # every answer, for as long as it is set
    index.delay_seconds = 2                     # before every answer
    index.corrupt("tables")                     # its files are not what their hashes say
    index.truncate("tables")                    # its files are cut off, and say so in their length
    index.missing("tables")                     # 404 for its files, although they are listed
    index.dropping("tables")                    # the connection breaks in the middle of its files
    index.without_hashes = True                 # as indexes of plain directories are
    index.without_metadata = True               # no PEP 658: clients read inside the wheel

`index.requests` has what was asked, in order; `index.page` is the same as a flat page of links, for
`--find-links`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from packaging.utils import canonicalize_name

JSON = "application/vnd.pypi.simple.v1+json"
EPOCH = (2020, 1, 1, 0, 0, 0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients hang up when they give up
            super().handle_error(request, client_address)


@dataclass(frozen=True)
class Served:
    """A file that the index offers."""

    project: str
    version: str
    filename: str
    content: bytes
    metadata: bytes | None = None
    requires_python: str | None = None
    uploaded: str = "2024-01-01T00:00:00Z"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass
class PackageIndex:
    """A server in a thread, from `with` on; see the module."""

    files: dict[str, Served] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    credentials: tuple[str, str] | None = None
    status: int | None = None
    delay_seconds: float = 0.0
    without_hashes: bool = False
    without_metadata: bool = False
    _corrupt: set[str] = field(default_factory=set)
    _truncated: set[str] = field(default_factory=set)
    _missing: set[str] = field(default_factory=set)
    _dropping: set[str] = field(default_factory=set)
    _stopping: threading.Event = field(default_factory=threading.Event)

    # ----------------------------------------------------------------------------------- contents

    def wheel(
        self,
        name: str,
        version: str = "1.0",
        *,
        requires: Sequence[str] = (),
        files: Mapping[str, str | bytes] | None = None,
        requires_python: str | None = None,
        tag: str = "py3-none-any",
        extras: Mapping[str, Sequence[str]] | None = None,
        scripts: Mapping[str, str] | None = None,
        uploaded: str = "2024-01-01T00:00:00Z",
    ) -> Served:
        """Offer a wheel; without `files` it has one module that knows its version.

        `scripts` are console scripts: `{"tables": "tables:main"}`.
        """
        module = canonicalize_name(name).replace("-", "_")
        info = f"{module}-{version}.dist-info"
        described = _metadata(name, version, requires, requires_python, extras or {})
        inside: dict[str, bytes] = {
            path: text if isinstance(text, bytes) else text.encode()
            for path, text in (files or {f"{module}.py": f"__version__ = {version!r}\n"}).items()
        }
        inside[f"{info}/METADATA"] = described
        inside[f"{info}/WHEEL"] = (
            f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
        )
        if scripts:
            lines = "".join(f"{key} = {value}\n" for key, value in scripts.items())
            inside[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
        record = "".join(
            f"{path},sha256={_urlsafe(content)},{len(content)}\n"
            for path, content in inside.items()
        )
        inside[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in inside.items():
                archive.writestr(zipfile.ZipInfo(path, EPOCH), content)
        return self._offer(
            Served(
                canonicalize_name(name),
                version,
                f"{module}-{version}-{tag}.whl",
                packed.getvalue(),
                described,
                requires_python,
                uploaded,
            )
        )

    def sdist(
        self,
        name: str,
        version: str = "1.0",
        *,
        requires: Sequence[str] = (),
        setup: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Served:
        """Offer a source distribution that names its requirements in `setup.py` only.

        So a resolver has to run that. `setup` is run first in it.
        """
        module = canonicalize_name(name).replace("-", "_")
        top = f"{module}-{version}"
        inside = {
            "setup.py": (
                f"{setup or ''}\nfrom setuptools import setup\n"
                f"setup(name={name!r}, version={version!r}, py_modules=[{module!r}],"
                f" install_requires={list(requires)!r})\n"
            ),
            f"{module}.py": f"__version__ = {version!r}\n",
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            **(files or {}),
        }
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, text in inside.items():
                member = tarfile.TarInfo(f"{top}/{path}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return self._offer(
            Served(canonicalize_name(name), version, f"{top}.tar.gz", packed.getvalue())
        )

    def kernel(self, version: str = "7.4.0", requires: Sequence[str] = ()) -> Served:
        """Offer an `ipykernel` that can be imported and nothing else."""
        return self.wheel(
            "ipykernel",
            version,
            requires=requires,
            files={
                "ipykernel/__init__.py": f"__version__ = {version!r}\n",
                "ipykernel/kernelapp.py": "",
                "ipykernel_launcher.py": "",
            },
        )

    def remove(self, name: str) -> None:
        """Take a package away."""
        for filename in self._of(name):
            del self.files[filename]

    def corrupt(self, name: str) -> None:
        """Serve other files than the hashes say, and yet valid ones, from now on."""
        self._corrupt.update(self._of(name))

    def truncate(self, name: str) -> None:
        """Serve half of the files as if it were all, from now on."""
        self._truncated.update(self._of(name))

    def missing(self, name: str) -> None:
        """List the files and yet answer 404 for them, from now on."""
        self._missing.update(self._of(name))

    def dropping(self, name: str) -> None:
        """Break the connection in the middle of the files, from now on."""
        self._dropping.update(self._of(name))

    def healthy(self) -> None:
        """End all that goes wrong, credentials aside."""
        self.status, self.delay_seconds = None, 0.0
        for each in (self._corrupt, self._truncated, self._missing, self._dropping):
            each.clear()

    # ------------------------------------------------------------------------------------- serving

    @property
    def url(self) -> str:
        """What is given to `--index-url`."""
        return f"{self.origin}/simple"

    @property
    def page(self) -> str:
        """What is given to `--find-links`."""
        return f"{self.origin}/links/"

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # one segment an answer: two would wait for each other's acknowledgement, 40 ms
            wbufsize = 1 << 16

            def do_GET(self) -> None:
                index._answer(self)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        if self.delay_seconds:
            self._stopping.wait(self.delay_seconds)
        if self.status is not None:
            return _send(handler, self.status, b"the index is ill", "text/plain")
        if self.credentials is not None and not self._is_signed_in(handler):
            return _send(
                handler, 401, b"sign in", "text/plain", {"WWW-Authenticate": 'Basic realm="index"'}
            )
        kind, _, rest = handler.path.partition("?")[0].strip("/").partition("/")
        if kind == "files":
            return self._send_file(handler, rest)
        if kind == "links":
            return _send(handler, 200, _page(list(self.files.values()), self), "text/html")
        if kind != "simple":
            return _send(handler, 404, b"", "text/plain")
        name = rest.strip("/")
        if not name:
            names = sorted({each.project for each in self.files.values()})
            links = "".join(f'<a href="{escape(each)}/">{escape(each)}</a>\n' for each in names)
            return _send(handler, 200, links.encode(), "text/html")
        offered = [each for each in self.files.values() if each.project == name]
        if not offered:
            return _send(handler, 404, b"no such project", "text/plain")
        if JSON in handler.headers.get("Accept", ""):
            return _send(handler, 200, self._document(name, offered), JSON)
        return _send(handler, 200, _page(offered, self), "text/html")

    def _document(self, name: str, offered: list[Served]) -> bytes:
        return json.dumps(
            {
                "meta": {"api-version": "1.1"},
                "name": name,
                "versions": sorted({each.version for each in offered}),
                "files": [
                    {
                        "filename": each.filename,
                        "url": f"../../files/{each.filename}",
                        "hashes": {} if self.without_hashes else {"sha256": each.sha256},
                        "size": len(each.content),
                        "upload-time": each.uploaded,
                        "requires-python": each.requires_python,
                        **self._metadata_key(each),
                    }
                    for each in offered
                ],
            }
        ).encode()

    def _metadata_key(self, served: Served) -> dict[str, Any]:
        if served.metadata is None or self.without_metadata:
            return {}
        return {"core-metadata": {"sha256": hashlib.sha256(served.metadata).hexdigest()}}

    def _send_file(self, handler: BaseHTTPRequestHandler, filename: str) -> None:
        if filename.endswith(".metadata") and not self.without_metadata:
            served = self.files.get(filename.removesuffix(".metadata"))
            if served is not None and served.metadata is not None:
                return _send(handler, 200, served.metadata, "text/plain")
        served = self.files.get(filename)
        if served is None or filename in self._missing:
            return _send(handler, 404, b"no such file", "text/plain")
        content = served.content
        if filename in self._corrupt:
            content = _changed(content)
        if filename in self._truncated:
            content = content[: len(content) // 2]
        if filename in self._dropping:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content[: len(content) // 2])
            handler.wfile.flush()
            handler.close_connection = True
            return None
        return _send(handler, 200, content, "application/octet-stream")

    def _is_signed_in(self, handler: BaseHTTPRequestHandler) -> bool:
        expected = base64.b64encode(":".join(self.credentials or ()).encode()).decode()
        return handler.headers.get("Authorization") == f"Basic {expected}"

    def _offer(self, served: Served) -> Served:
        self.files[served.filename] = served
        return served

    def _of(self, name: str) -> list[str]:
        found = [key for key, each in self.files.items() if each.project == canonicalize_name(name)]
        assert found, f"the index has no {name}"
        return found


def _changed(content: bytes) -> bytes:
    """Return a valid archive of the same size with other bytes: other times, in fact."""
    if not content.startswith(b"PK"):
        return content[:-1] + bytes([content[-1] ^ 0xFF])
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for path in old.namelist():
            new.writestr(zipfile.ZipInfo(path, (2021, 1, 1, 0, 0, 0)), old.read(path))
    return packed.getvalue()


def _metadata(
    name: str,
    version: str,
    requires: Sequence[str],
    requires_python: str | None,
    extras: Mapping[str, Sequence[str]],
) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {each}" for each in requires]
    for extra, wanted in extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {each} ; extra == "{extra}"' for each in wanted]
    return ("\n".join(lines) + "\n").encode()


def _page(offered: list[Served], index: PackageIndex) -> bytes:
    links = []
    for each in offered:
        fragment = "" if index.without_hashes else f"#sha256={each.sha256}"
        python = (
            f' data-requires-python="{escape(each.requires_python)}"'
            if each.requires_python
            else ""
        )
        links.append(f'<a href="/files/{each.filename}{fragment}"{python}>{each.filename}</a><br>')
    return ("<!DOCTYPE html><html><body>\n" + "\n".join(links) + "\n</body></html>").encode()


def _send(
    handler: BaseHTTPRequestHandler,
    status: int,
    content: bytes,
    kind: str,
    headers: Mapping[str, str] | None = None,
) -> None:
    whole, wanted = len(content), handler.headers.get("Range", "")
    if status == 200 and wanted.startswith("bytes="):
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin = int(first) if first else max(0, whole - int(last))
        end = min(whole - 1, int(last)) if first and last else whole - 1
        content, status = content[begin : end + 1], 206
        headers = {**(headers or {}), "Content-Range": f"bytes {begin}-{end}/{whole}"}
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content)))
    handler.send_header("Accept-Ranges", "bytes")
    # so that a switch that a test throws is seen at once
    handler.send_header("Cache-Control", "max-age=0")
    if handler.close_connection:  # the client, or a proxy on the way, is told so
        handler.send_header("Connection", "close")
    for key, value in (headers or {}).items():
        handler.send_header(key, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def main() -> None:
    """Serve an index by hand, to look at: `python -m tests.package_index`."""
    with PackageIndex() as index:
        index.wheel("tables", "1.0", requires=["chairs>=2"])
        index.wheel("chairs", "2.1")
        index.kernel()
        print(index.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
