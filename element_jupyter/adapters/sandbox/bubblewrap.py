"""Namespaces by bubblewrap, the program that flatpak starts its applications with."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from element_jupyter.adapters.sandbox import relay

if TYPE_CHECKING:
    from element_jupyter.adapters.sandbox.gateway import Gateway

_NOBODY: Final = "65534"
_PORT: Final = 3128
"""Of the proxy on the sandbox's own loopback, where nothing else listens."""

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
_SETTINGS: Final = (
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/pki",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
)
_PASSED: Final = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that go in from those given, besides tools' own that hold no secret."""

_SECRET_WORDS: Final = ("PASSWORD", "USERNAME", "TOKEN", "SECRET", "KEY", "NETRC", "CREDENTIAL")


@dataclass(frozen=True)
class Wrapped:
    """A command to start as it is, and the whole of its variables."""

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    gateway: Gateway
    """Knows what the command asked for and did not get."""


class Bubblewrap:
    """Puts commands into a sandbox."""

    def __init__(self, program: str = "bwrap") -> None:
        self._program = program

    @functools.cached_property
    def unavailable(self) -> str | None:
        """Why there is no sandbox here, as a sentence; None when it works."""
        program = shutil.which(self._program)
        if program is None:
            return "The program bwrap is not installed (Debian's package is bubblewrap)."
        tried = subprocess.run(
            [program, *_namespaces(), *_system(), "--", "/usr/bin/env", "true"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if tried.returncode:
            return f"bwrap cannot make a sandbox on this machine: {tried.stderr.strip()[:300]}."
        return None

    @contextmanager
    def wrap(
        self,
        argv: Sequence[str],
        *,
        writable: Sequence[Path],
        readable: Sequence[Path] = (),
        hosts: Sequence[str],
        variables: Mapping[str, str],
    ) -> Iterator[Wrapped]:
        """Yield the command as it is to be started; the way out exists as long as the block lasts.

        `hosts` are URLs or `host:port`s that it may talk to. Of `variables`, those that look like
        credentials stay outside. HOME and TMPDIR are empty and gone afterwards; the working
        directory is the first of `writable`.

        Raises:
            OSError: the gateway's socket cannot be made.
        """
        # asyncio, for which every builder would wait and few have use
        from element_jupyter.adapters.sandbox.gateway import Gateway, running

        with tempfile.TemporaryDirectory(prefix="element-sandbox-") as directory:
            socket = Path(directory) / "gateway"
            proxy = f"http://127.0.0.1:{_PORT}"
            passed = {
                name: value
                for name, value in variables.items()
                if (name in _PASSED or name.startswith("UV_"))
                and not any(word in name for word in _SECRET_WORDS)
            }
            inside = {
                **passed,
                "HOME": "/tmp/home",  # noqa: S108 - of the sandbox, which has a /tmp of its own
                "TMPDIR": "/tmp",  # noqa: S108 - as above
                # the same source gives the same bytes, where the tools let it
                "SOURCE_DATE_EPOCH": "315532800",
                "PYTHONHASHSEED": "0",
                **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy),
                **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), proxy),
            }
            upstream = variables.get("HTTPS_PROXY") or variables.get("https_proxy")
            gateway = Gateway(hosts, upstream)
            names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
            certificates = [Path(passed[name]) for name in names if passed.get(name)]
            command = [
                shutil.which(self._program) or self._program,
                *_namespaces(),
                *_system(),
                *("--dir", "/tmp/home"),  # noqa: S108 - as above
                *(word for path in _pythons() for word in ("--ro-bind", path, path)),
                *(
                    word
                    for path in (*readable, *certificates)
                    if not _holds_home(path)
                    for word in ("--ro-bind-try", str(path), str(path))
                ),
                *(word for path in writable for word in ("--bind", str(path), str(path))),
                *("--bind", str(socket), "/tmp/gateway"),  # noqa: S108 - as above
                *("--ro-bind", relay.__file__, "/tmp/relay.py"),  # noqa: S108 - as above
                *("--remount-ro", "/"),
                *("--chdir", str(writable[0]) if writable else "/tmp"),  # noqa: S108 - as above
                *("--", sys.executable, "-I", "-S", "/tmp/relay.py"),  # noqa: S108 - as above
                *("/tmp/gateway", str(_PORT), "--", *argv),  # noqa: S108 - as above
            ]
            with running(gateway, socket):
                yield Wrapped(tuple(command), inside, gateway)


def _namespaces() -> list[str]:
    # without a controlling terminal nothing can be typed into ours (CVE-2017-5226)
    return [
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--uid",
        _NOBODY,
        "--gid",
        _NOBODY,
    ]


def _system() -> list[str]:
    words: list[str] = []
    for name in _SYSTEM:
        if os.path.islink(name):  # noqa: PTH114 - Path.readlink would do; these are plain texts
            words += ["--symlink", os.readlink(name), name]  # noqa: PTH115 - as above
        elif os.path.isdir(name):  # noqa: PTH112 - as above
            words += ["--ro-bind", name, name]
    for name in _SETTINGS:
        words += ["--ro-bind-try", name, name]
    return [*words, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - its own


def _pythons() -> list[str]:
    """Where the interpreter of this process lies, when it is none of the system's."""
    found = dict.fromkeys(str(Path(path).resolve()) for path in (sys.prefix, sys.base_prefix))
    return [path for path in found if not path.startswith("/usr/") and not _holds_home(Path(path))]


def _holds_home(path: Path) -> bool:
    """Whether a directory has all that a person has, as the prefix of an interpreter in `~/bin`."""
    return path.is_dir() and Path.home().resolve().is_relative_to(path.resolve())
