"""Generated bad input: what people, scripts and attackers send by mistake or on purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

ZEROS = "0" * 64

HOSTILE_NAMES = {
    "parent": "../../etc/passwd",
    "dotdot": "..",
    "dot": ".",
    "absolute": "/etc/passwd",
    "single quote": "a'b",
    "double quote": 'a"b',
    "newline": "a\nb",
    "carriage return": "a\rb",
    "nul": "a\x00b",
    "emoji": "job-😀",
    "10 kB": "a" * 10_000,
    "64 characters": "a" * 64,
    "space": "a b",
    "upper case": "Job",
    "two dashes": "a--b",
    "leading dash": "-rf",
    "trailing dot": "a.",
    "shell": "$(touch pwned)",
    "backtick": "`id`",
    "semicolon": "a;ls",
    "sql": "x'); DROP TABLE runs; --",
    "markup": "<script>alert(1)</script>",
    "template": "{{7*7}}",
    "format": "%s%n",
    "backslash": "a\\b",
    "percent-encoded": "%2e%2e%2f",
    "right-to-left": "a\u202eb",
    "fullwidth": "ａ",
    "lone surrogate": "a\ud800",
    "empty": "",
}

WRONG_TYPES: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 12,
    "negative": -1,
    "huge number": 10**400,
    "list": [],
    "object": {},
    "nested list": [[["x"]]],
}


@dataclass(frozen=True)
class Request:
    """One bad request; `label` names it in the test's id."""

    label: str
    method: str
    path: str
    content: bytes | None = None
    content_type: str = "application/json"


def job(snapshot_id: str, team: str, **changes: Any) -> dict[str, Any]:
    """Return a good job, with these top-level changes."""
    return {
        "apiVersion": "element/v1",
        "kind": "Job",
        "team": team,
        "name": "good",
        "owner": team,
        "snapshot_id": snapshot_id,
        "tasks": [{"notebook": "notebook.ipynb"}],
        **changes,
    }


def requests(snapshot_id: str, team: str) -> Iterator[Request]:
    """Yield every case; each must be answered with a 4xx and a sentence."""
    yield from _names(snapshot_id, team)
    yield from _types(snapshot_id, team)
    yield from _schedules(snapshot_id, team)
    yield from _tasks(snapshot_id, team)
    yield from _runs(snapshot_id)
    yield from _raw(team)
    yield from _paths()


def _put(label: str, team: str, body: dict[str, Any]) -> Request:
    return Request(label, "PUT", f"/api/v1/jobs/{team}/good", _json(body))


def _json(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


def _names(snapshot_id: str, team: str) -> Iterator[Request]:
    for label, name in HOSTILE_NAMES.items():
        segment = quote(name.encode("utf-8", "surrogatepass"), safe="")
        good = job(snapshot_id, team)
        yield Request(
            f"name in the path: {label}",
            "PUT",
            f"/api/v1/jobs/{team}/{segment}",
            _json({**good, "name": name}),
        )
        for key in ("name", "team", "owner"):
            yield _put(f"{key} in the body: {label}", team, {**good, key: name})
        yield _put(
            f"task's name: {label}",
            team,
            job(snapshot_id, team, tasks=[{"name": name, "notebook": "notebook.ipynb"}]),
        )
        yield _put(
            f"notebook's path: {label}", team, job(snapshot_id, team, tasks=[{"notebook": name}])
        )
        yield _put(
            f"parameter's name: {label}",
            team,
            job(snapshot_id, team, tasks=[{"notebook": "notebook.ipynb", "parameters": {name: 1}}]),
        )


def _types(snapshot_id: str, team: str) -> Iterator[Request]:
    good = job(snapshot_id, team)
    for key in ("team", "name", "owner", "snapshot_id", "tasks", "apiVersion", "kind"):
        for label, wrong in WRONG_TYPES.items():
            yield _put(f"{key} is {label}", team, {**good, key: wrong})
        yield _put(
            f"{key} is missing", team, {k: v for k, v in good.items() if k != key} | {"x": 1}
        )
    for key in ("schedule", "catch_up", "max_active", "paused", "title", "description", "size"):
        for label in ("list", "huge number", "nested list"):
            yield _put(f"{key} is {label}", team, {**good, key: WRONG_TYPES[label]})
    yield _put("an unknown key", team, {**good, "shedule": None})
    yield _put("a title of 121 characters", team, {**good, "title": "x" * 121})
    yield _put("a snapshot that does not exist", team, {**good, "snapshot_id": "f" * 64})


def _schedules(snapshot_id: str, team: str) -> Iterator[Request]:
    for expression in (
        "61 * * * *",
        "* 24 * * *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "* * * *",
        "* * * * * *",
        "",
        "every day",
        "@reboot",
        "0 0 * * 8-9",
        "*/0 * * * *",
        "5-1/2/3 * * * *",
        "0 0 * 13 *",
        "; rm -rf /",
        "0 0 1 1 *" * 30,
        "\x00",
    ):
        cron = {"kind": "cron", "expression": expression}
        yield _put(f"cron {expression[:20]!r}", team, job(snapshot_id, team, schedule=cron))
        yield Request(
            f"preview of cron {expression[:20]!r}",
            "POST",
            "/api/v1/schedules/preview",
            _json({"schedule": cron, "count": 3}),
        )
    for zone in (
        "Mars/Olympus",
        "../../etc/localtime",
        "Europe/Zurich\x00",
        "",
        "UTC+25",
        "x" * 99,
    ):
        cron = {"kind": "cron", "expression": "0 6 * * *", "timezone": zone}
        yield _put(f"time zone {zone[:20]!r}", team, job(snapshot_id, team, schedule=cron))
    for at in ("yesterday", "2020-01-01T00:00:00Z", "2030-01-01T00:00:00", 1e400, "99999-01-01"):
        once = {"kind": "once", "at": str(at)}
        yield _put(f"once at {at}", team, job(snapshot_id, team, schedule=once))
    backwards = {
        "kind": "cron",
        "expression": "0 6 * * *",
        "start": "2031-01-01T00:00:00Z",
        "end": "2030-01-01T00:00:00Z",
    }
    yield _put("the end before the start", team, job(snapshot_id, team, schedule=backwards))
    yield _put("an unknown kind", team, job(snapshot_id, team, schedule={"kind": "moon"}))


def _tasks(snapshot_id: str, team: str) -> Iterator[Request]:
    book = "notebook.ipynb"
    for label, tasks in {
        "two of one name": [{"notebook": book}, {"notebook": book}],
        "need of itself": [{"notebook": book, "needs": ["main"]}],
        "a circle": [
            {"name": "a", "notebook": book, "needs": ["b"]},
            {"name": "b", "notebook": book, "needs": ["a"]},
        ],
        "need of an unknown": [{"notebook": book, "needs": ["nobody"]}],
        "input without need": [
            {"name": "a", "notebook": book},
            {"name": "b", "notebook": book, "inputs": {"n": "a:x"}},
        ],
        "51 of them": [{"name": f"t{n}", "notebook": book} for n in range(51)],
        "a notebook that is not in the snapshot": [{"notebook": "missing.ipynb"}],
        "a notebook that is JSON but not a notebook": [{"notebook": "list.ipynb"}],
        "a notebook that is not JSON": [{"notebook": "text.ipynb"}],
        "a truncated notebook": [{"notebook": "truncated.ipynb"}],
        "a notebook nested 200 deep": [{"notebook": "deep.ipynb"}],
        "a parameter of the wrong type": [{"notebook": book, "parameters": {"n": "many"}}],
        "a parameter that is not there": [{"notebook": book, "parameters": {"m": 1}}],
        "retries below zero": [{"notebook": book, "retries": -1}],
        "a time limit of no time": [{"notebook": book, "time_limit_seconds": 0}],
        "a time limit of years": [{"notebook": book, "time_limit_seconds": 10**9}],
    }.items():
        yield _put(f"tasks: {label}", team, job(snapshot_id, team, tasks=tasks))


def _runs(snapshot_id: str) -> Iterator[Request]:
    good = {"notebook": "notebook.ipynb", "snapshot_id": snapshot_id}
    for label, body in {
        "nothing": {},
        "an unknown job": {"job": "nobody/nothing"},
        "a job without a team": {"job": "nothing"},
        "a hostile job": {"job": "../../x"},
        "no snapshot": {"notebook": "notebook.ipynb"},
        "an unknown snapshot": {**good, "snapshot_id": ZEROS},
        "a notebook above the root": {**good, "notebook": "../notebook.ipynb"},
        "a notebook that is not there": {**good, "notebook": "nowhere.ipynb"},
        "an unknown kernel": {**good, "kernel": "cobol-85"},
        "a hostile kernel": {**good, "kernel": "../../bin/sh"},
        "a wrong parameter": {**good, "parameters": {"n": [1]}},
        "an unknown parameter": {**good, "parameters": {"m": 1}},
        "an unknown trigger": {**good, "trigger": "moon"},
        "a naive time": {**good, "logical_date": "2026-01-01T00:00:00"},
        "attempt 0": {**good, "attempt": 0},
        "an unknown key": {**good, "notebok": "x"},
        "an endless time limit": {**good, "time_limit_seconds": 10**12},
        "an empty idempotency key": {**good, "idempotency_key": ""},
    }.items():
        yield Request(f"run of {label}", "POST", "/api/v1/runs", _json(body))


def _raw(team: str) -> Iterator[Request]:
    deep = b"[" * 100_000 + b"]" * 100_000
    for path, method in (
        (f"/api/v1/jobs/{team}/good", "PUT"),
        ("/api/v1/runs", "POST"),
        ("/api/v1/schedules/preview", "POST"),
        ("/api/v1/snapshots/missing", "POST"),
    ):
        for label, content in {
            "no body": b"",
            "not JSON": b"hello",
            "truncated": b'{"a": ',
            "bad UTF-8": b'{"a": "\xff\xfe"}',
            "nested 100,000 deep": deep,
            "a list": b"[1, 2]",
            "a number": b"42",
            "NaN": b'{"a": NaN}',
            "two of one key": b'{"a": 1, "a": 2}',
            "UTF-16": '{"a": 1}'.encode("utf-16"),
            "11 MB": b'{"a": "' + b"x" * 11_000_000 + b'"}',
        }.items():
            yield Request(f"{method} {path.rsplit('/', 1)[-1]}: {label}", method, path, content)


def _paths() -> Iterator[Request]:
    for label, path in {
        "unknown route": "/api/v1/nothing",
        "unknown run": "/api/v1/runs/r-00000000000000000000000000",
        "run of another form": "/api/v1/runs/1",
        "artifact above the root": "/api/v1/runs/r-00000000000000000000000000/artifacts/..%2f..%2ftoken",
        "unknown snapshot": f"/api/v1/snapshots/{ZEROS}",
        "snapshot above the root": "/api/v1/snapshots/..%2f..%2ftoken",
        "hostile cursor": "/api/v1/runs?cursor=%00",
        "limit of a million": "/api/v1/runs?limit=1000000",
        "limit below zero": "/api/v1/runs?limit=-1",
        "hostile state": "/api/v1/runs?state=%27%20OR%201%3D1",
        "changes before time": "/api/v1/job-changes?after=-5",
        "changes after a word": "/api/v1/job-changes?after=now",
    }.items():
        yield Request(f"GET {label}", "GET", path)
    yield Request("blob under another digest", "PUT", f"/api/v1/blobs/{ZEROS}", b"hello")
    yield Request("blob under no digest", "PUT", "/api/v1/blobs/..%2f..%2fx", b"hello")
    yield Request("wrong verb", "DELETE", "/api/v1/runs")
    yield Request("deleting what is not there", "DELETE", "/api/v1/jobs/nobody/nothing")
    yield Request(
        "report without the run's token", "POST", f"/api/v1/runs/r-{'0' * 26}/events", b"{}"
    )
