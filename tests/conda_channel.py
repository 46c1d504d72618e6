"""A small conda channel of real packages, made here: no test needs conda-forge.

It has the Python that runs the tests, ipykernel with what it needs (repacked from the files that
are installed here), and packages that contradict each other on purpose:

    python, ipykernel, …     a real interpreter and a real kernel
    greeter 1.0, 2.0         noarch Python with a console script
    widget, gadget           need toolbox 1.* and toolbox 2.*
    antique                  needs Python below 3.0
    accelerated              needs a graphics card that nobody has
    branded                  a text file and a script with the prefix in them
    hooked                   a post-link script, which must never run
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PLACEHOLDER = "/opt/" + "placehold_" * 20
PYTHON = platform.python_version()
SHORT = f"{sys.version_info.major}.{sys.version_info.minor}"
FORMAT = 1
"""Raised when a cached channel must be built anew."""


def subdir() -> str:
    """Return what conda calls this machine."""
    return {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[platform.machine()]


# ------------------------------------------------------------------------------------- one package


@dataclass
class Package:
    """What one package is made of; files by their path in the prefix."""

    name: str
    version: str
    depends: list[str] = field(default_factory=list)
    files: dict[str, bytes | Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    noarch: str | None = None
    """`python`, `generic`, or None for this platform."""
    entry_points: list[str] = field(default_factory=list)
    executables: set[str] = field(default_factory=set)
    build: str = "0"
    timestamp: int = 1_700_000_000_000
    """Milliseconds; November 2023."""

    def write(self, channel: Path) -> Path:
        """Write the package into a channel's directory."""
        where = channel / ("noarch" if self.noarch else subdir())
        where.mkdir(parents=True, exist_ok=True)
        path = where / f"{self.name}-{self.version}-{self.build}.conda"
        paths, content = [], io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            for name, given in sorted(self.files.items()):
                data = given.read_bytes() if isinstance(given, Path) else given
                _add(tar, name, data, executable=name in self.executables)
                entry: dict[str, Any] = {
                    "_path": name,
                    "path_type": "hardlink",
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size_in_bytes": len(data),
                }
                if PLACEHOLDER.encode() in data:
                    entry |= {"file_mode": "text", "prefix_placeholder": PLACEHOLDER}
                paths.append(entry)
            for name, target in sorted(self.links.items()):
                tar.addfile(_link(name, target))
                paths.append({"_path": name, "path_type": "softlink"})
        index = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": 0,
            "depends": self.depends,
            "subdir": where.name,
            "timestamp": self.timestamp,
            **({"noarch": self.noarch} if self.noarch else {}),
        }
        info = io.BytesIO()
        with tarfile.open(fileobj=info, mode="w") as tar:
            _add(tar, "info/index.json", json.dumps(index).encode())
            _add(
                tar,
                "info/paths.json",
                json.dumps({"paths": paths, "paths_version": 1}).encode(),
            )
            if self.noarch == "python":
                link = {
                    "noarch": {"type": "python", "entry_points": self.entry_points},
                    "package_metadata_version": 1,
                }
                _add(tar, "info/link.json", json.dumps(link).encode())
        stem = path.name.removesuffix(".conda")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
            archive.writestr(f"pkg-{stem}.tar.zst", zstd(content.getvalue()))
            archive.writestr(f"info-{stem}.tar.zst", zstd(info.getvalue()))
        return path


def zstd(data: bytes) -> bytes:
    """Return a Zstandard frame of raw blocks (RFC 8878 §3.1.1): valid, quick, not compressed."""
    blocks = [data[at : at + 131_072] for at in range(0, len(data), 131_072)] or [b""]
    frame = bytearray(b"\x28\xb5\x2f\xfd\x00\x38")  # magic, no checksum, window of 128 KiB
    for number, block in enumerate(blocks, 1):
        frame += ((len(block) << 3) | (number == len(blocks))).to_bytes(3, "little") + block
    return bytes(frame)


def _add(tar: tarfile.TarFile, name: str, data: bytes, *, executable: bool = False) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o755 if executable else 0o644
    tar.addfile(entry, io.BytesIO(data))


def _link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


# ------------------------------------------------------------------------------- what is in it


def python_package() -> Package:
    """Return the interpreter that runs this, without what no kernel needs."""
    base = Path(sys.base_prefix)
    library = f"lib/python{SHORT}"
    left_out = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib"}
    left_out |= {"lib2to3", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "distutils"}
    left_out |= {f"config-{SHORT}-{sysconfig.get_config_var('MULTIARCH')}", "unittest"}
    made = Package("python", PYTHON, build="h0_0")
    for directory, names, files in os.walk(base / library):
        names[:] = [name for name in names if name not in left_out]
        for name in files:
            path = Path(directory, name)
            if name != "EXTERNALLY-MANAGED" and "_test" not in name and path.suffix != ".a":
                made.files[path.relative_to(base).as_posix()] = _relocatable(path)
    # Debian's own installs below local/, unless it is told otherwise, and looks elsewhere
    layout = (base / library / "sysconfig.py").read_bytes()
    made.files[f"{library}/sysconfig.py"] = layout.replace(
        b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'"
    )
    made.links[f"{library}/dist-packages"] = "site-packages"
    # what imports it does not test
    made.files[f"{library}/unittest/__init__.py"] = b""
    made.files[f"{library}/unittest/mock.py"] = b""
    # a place for packages must be there, and conda keeps no empty directory
    made.files[f"{library}/site-packages/README.txt"] = b"Packages are here.\n"
    program = f"bin/python{SHORT}"
    made.files[program] = _relocatable(Path(os.path.realpath(sys.executable)))
    made.executables.add(program)
    made.links |= {"bin/python": f"python{SHORT}", "bin/python3": f"python{SHORT}"}
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and (base / "lib" / shared).exists():
        made.files[f"lib/{shared}"] = _relocatable(base / "lib" / shared)
    return made


def _relocatable(path: Path) -> bytes:
    """Return a file whose search path for libraries, if it has one, is relative to itself."""
    data, built_in = path.read_bytes(), sys.base_prefix.encode() + b"/lib\0"
    if data[:4] != b"\x7fELF" or built_in not in data:
        return data
    ours = b"$ORIGIN/../lib\0"
    if len(ours) > len(built_in):
        return data  # a directory of the system, where libraries are looked for anyway
    return data.replace(built_in, ours.ljust(len(built_in), b"\0"))


def installed_packages(names: Iterable[str], without: frozenset[str]) -> Iterator[Package]:
    """Yield packages of what is installed here, with what they need."""
    waiting, seen = list(names), set(without)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        needs = []
        for line in importlib.metadata.requires(name) or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                needed = re.sub(r"[-_.]+", "-", need.name).lower()
                if needed not in without:
                    needs.append(needed)
        waiting += needs
        yield _repacked(importlib.metadata.distribution(name), name, needs)


def _repacked(found: importlib.metadata.Distribution, name: str, needs: list[str]) -> Package:
    pure = "Root-Is-Purelib: true" in (found.read_text("WHEEL") or "")
    site = "site-packages" if pure else f"lib/python{SHORT}/site-packages"
    made = Package(
        name,
        found.version,
        [f"python >={SHORT},<{SHORT[:2]}{int(SHORT[2:]) + 1}" if not pure else "python", *needs],
        noarch="python" if pure else None,
    )
    left_out = re.compile(r"(^|/)(__pycache__|tests?|third_party)/|^\.\./|/RECORD$|\.(pyi|pyc)$")
    for file in found.files or ():
        data = file.as_posix()
        path = Path(str(found.locate_file(file)))
        if not left_out.search(data) and path.is_file():
            made.files[f"{site}/{data}"] = path
        elif data.startswith("../../../share/") and path.is_file():
            made.files[data.removeprefix("../../../")] = path
    scripts = [each for each in found.entry_points if each.group == "console_scripts"]
    made.entry_points = [f"{each.name} = {each.value}" for each in scripts] if pure else []
    return made


def small_packages() -> Iterator[Package]:
    """Yield what exists for one test each."""
    for version, at in (("1.0", 1_700_000_000_000), ("2.0", 1_750_000_000_000)):
        metadata = f"Metadata-Version: 2.1\nName: greeter\nVersion: {version}\n".encode()
        module = f"def main():\n    print('hello from {version}')\n".encode()
        yield Package(
            "greeter",
            version,
            ["python"],
            {
                "site-packages/greeter.py": module,
                f"site-packages/greeter-{version}.dist-info/METADATA": metadata,
            },
            noarch="python",
            entry_points=["greet = greeter:main"],
            timestamp=at,
        )
        tool: dict[str, bytes | Path] = {f"share/toolbox-{version}": b"tool\n"}
        yield Package("toolbox", version, files=tool, noarch="generic", timestamp=at)
    yield Package("widget", "1.0", ["toolbox 1.*"], noarch="generic")
    yield Package("gadget", "1.0", ["toolbox 2.*"], noarch="generic")
    yield Package("antique", "0.1", ["python <3.0"], noarch="generic")
    yield Package("accelerated", "1.0", ["__cuda >=99"], noarch="generic")
    brand = f"home={PLACEHOLDER}\n".encode()
    script = f"#!{PLACEHOLDER}/bin/python\nimport sys; print(sys.prefix)\n".encode()
    yield Package(
        "branded",
        "1.0",
        ["python"],
        {"etc/brand.conf": brand, "bin/brand": script},
        executables={"bin/brand"},
    )
    hook = b'#!/bin/sh\ntouch "$PREFIX/post-link-ran"\n'
    yield Package(
        "hooked",
        "1.0",
        files={"bin/.hooked-post-link.sh": hook},
        noarch="generic",
        executables={"bin/.hooked-post-link.sh"},
    )


def build(directory: Path) -> None:
    """Build the whole channel, unless it is there; of several processes one does."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{directory}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.exists():
            return
        half = directory.with_name(f"{directory.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        python_package().write(half)
        # 20 MB that a kernel does without
        for package in installed_packages(["ipykernel"], frozenset({"debugpy"})):
            package.write(half)
        for package in small_packages():
            package.write(half)
        index(half)
        half.rename(directory)


def index(directory: Path) -> None:
    """Write `repodata.json` of a channel."""
    from rattler.index import index_fs

    asyncio.run(index_fs(directory, write_zst=False, write_shards=False, force=True))
    for path in directory.glob("*/repodata.json"):
        repodata = json.loads(path.read_text())
        for record in (*repodata["packages"].values(), *repodata["packages.conda"].values()):
            record.pop("indexed_timestamp", None)  # today, which no date to be newer than is
        path.write_text(json.dumps(repodata, indent=1))


def cached(root: Path) -> Path:
    """Return the channel of this interpreter and these packages below `root`, built if need be."""
    about = [FORMAT, sys.version, sys.base_prefix, Path(__file__).read_text()]
    about += [importlib.metadata.version("ipykernel"), importlib.metadata.version("ipython")]
    name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    build(root / name)
    return root / name


# ------------------------------------------------------------------------------------- serving it


@dataclass
class Served:
    """A channel behind HTTP; `answers` replaces what paths are answered with."""

    url: str
    directory: Path
    requests: list[str] = field(default_factory=list)
    answers: dict[str, Callable[[SimpleHTTPRequestHandler], None]] = field(default_factory=dict)
    """By the end of the path."""
    credentials: tuple[str, str] | None = None
    """401 to everybody else."""


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, served: Served) -> None:
        self.served = served
        super().__init__(*arguments, directory=str(served.directory))

    def do_GET(self) -> None:
        self.served.requests.append(self.path)
        if self.served.credentials is not None:
            given = base64.b64encode(":".join(self.served.credentials).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {given}":
                self.send_error(401)
                return
        for end, answer in self.served.answers.items():
            if self.path.endswith(end):
                answer(self)
                return
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Tell nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # it asks no more
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Served]:
    """Serve a channel's directory on a port of the loopback."""
    served = Served("", directory)
    with _Server(("127.0.0.1", 0), partial(_Handler, served=served)) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/{directory.name}"
        served.directory = directory.parent
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def status(code: int) -> Callable[[SimpleHTTPRequestHandler], None]:
    """Return an answer for `Served.answers`."""
    return lambda request: request.send_error(code)


def content(data: bytes) -> Callable[[SimpleHTTPRequestHandler], None]:
    """Return an answer with a body for `Served.answers`."""

    def answer(request: SimpleHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return answer


def variables(home: Path) -> Mapping[str, str]:
    """Return a process environment for tools, with a home that has nothing in it."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
