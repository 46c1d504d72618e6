"""Manifests that nobody with good intent writes, by what is wrong with them."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def json_of(*entries: dict[str, Any], **more: Any) -> bytes:
    rows = [
        {"digest": digest_of("x"), "executable": False, "link": None, "size_bytes": 0, **entry}
        for entry in entries
    ]
    return json.dumps(
        {"entries": rows, **more}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode("utf-8", "surrogatepass")


def a_link(path: str, target: str, **changes: Any) -> dict[str, Any]:
    digest = hashlib.sha256(target.encode("utf-8", "surrogatepass")).hexdigest()
    return {"path": path, "link": target, "digest": digest, **changes}


MALICIOUS = {
    "parent": json_of({"path": "../x"}),
    "parent inside": json_of({"path": "a/../../x"}),
    "parent that stays inside": json_of({"path": "a/../x"}),
    "parent at the end": json_of({"path": "a/.."}),
    "only parent": json_of({"path": ".."}),
    "only self": json_of({"path": "."}),
    "self inside": json_of({"path": "a/./x"}),
    "empty": json_of({"path": ""}),
    "absolute": json_of({"path": "/etc/passwd"}),
    "two slashes": json_of({"path": "//etc/passwd"}),
    "empty part": json_of({"path": "a//x"}),
    "directory": json_of({"path": "a/"}),
    "NUL": json_of({"path": "a\0b"}),
    "backslash": json_of({"path": "..\\x"}),
    "backslash inside": json_of({"path": "a\\..\\..\\x"}),
    "drive with backslash": json_of({"path": "C:\\x"}),
    "path too long": json_of({"path": "/".join(["a" * 200] * 6)}),
    "name too long": json_of({"path": "a" * 256}),
    "name too long in UTF-8": json_of({"path": "é" * 128}),
    "too deep": json_of({"path": "/".join("a" * 65)}),
    "lone surrogate": json_of({"path": "\udcff"}),
    "not UTF-8": json_of({"path": "x"}).replace(b'"x"', b'"\xff"'),
    "git's own files": json_of({"path": ".git/hooks/post-checkout", "executable": True}),
    "git's own files by another case": json_of({"path": "a/.GIT/config"}),
    "twice": json_of({"path": "a"}, {"path": "a"}),
    "file and directory": json_of({"path": "a"}, {"path": "a/b"}),
    "file and directory apart": json_of({"path": "a"}, {"path": "a-b"}, {"path": "a/b/c"}),
    "below a link": json_of(a_link("a", "."), {"path": "a/b"}),
    "not sorted": json_of({"path": "b"}, {"path": "a"}),
    "absolute link": json_of(a_link("a", "/etc/passwd")),
    "link to the parent": json_of(a_link("a", "..")),
    "link out": json_of(a_link("a/b", "../../etc/passwd")),
    "link out and in again": json_of(a_link("a", "../project/b"), {"path": "b"}),
    "link out through a link": json_of(a_link("l", "x/y/d/.."), a_link("x/y/d", "../..")),
    "link out through two": json_of(a_link("a/b", "../c/.."), a_link("c", "."), {"path": "d"}),
    "link out through what is not there": json_of(a_link("a", "b/../../c")),
    "empty link": json_of(a_link("a", "")),
    "link with NUL": json_of(a_link("a", "b\0c")),
    "link with a backslash": json_of(a_link("a", "..\\..\\c")),
    "link too long": json_of(a_link("a", "b/" * 600)),
    "link to itself": json_of(a_link("a", "a")),
    "links in a circle": json_of(a_link("a", "b"), a_link("b", "a")),
    "link that grows": json_of(a_link("a", "a/a/a")),
    "link with a size": json_of(a_link("a", "b", size_bytes=1)),
    "executable link": json_of(a_link("a", "b", executable=True)),
    "link of another digest": json_of(a_link("a", "b", digest=digest_of("c"))),
    "negative size": json_of({"path": "a", "size_bytes": -1}),
    "size beyond all disks": json_of({"path": "a", "size_bytes": 2**63}),
    "size as text": json_of({"path": "a", "size_bytes": "one"}),
    "digest of another form": json_of({"path": "a", "digest": "../../x"}),
    "digest in capitals": json_of({"path": "a", "digest": digest_of("x").upper()}),
    "digest with a newline": json_of({"path": "a", "digest": digest_of("x") + "\n"}),
    "unknown key": json_of({"path": "a", "mode": 0o4755}),
    "unknown key above": json_of({"path": "a"}, version=2),
    "key twice": b'{"entries":[],"entries":[]}',
    "spaces": b'{"entries": []}',
    "newline at the end": b'{"entries":[]}\n',
    "no entries": b"{}",
    "a list": b"[]",
    "nothing": b"",
    "not JSON": b"\x89PNG",
    "cut off": json_of({"path": "a"})[:-2],
    "deep nesting": b"[" * 100_000,
    "entries deep": b'{"entries":' + b"[" * 100_000,
}
