"""The mechanism of every request: what is refused, how, and what streams look like."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from pydantic import Field
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from element_jupyter.core.access import Action, Person, RunToken, Who
from element_jupyter.core.errors import Conflict, Unavailable
from element_jupyter.core.jobs import Job
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value
from element_jupyter.service.http import (
    PUBLIC,
    Accept,
    Access,
    Answer,
    EventStream,
    FileAnswer,
    IfMatch,
    LastEventId,
    Route,
    TextAnswer,
    Upload,
    allow,
)
from element_jupyter.service.mount import handlers
from element_jupyter.service.mounted import Mounted

ALICE = {"Authorization": "Bearer alice"}


@dataclass
class World:
    root: Path
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    uploads: list[Path] = field(default_factory=list)


class Colour(Value):
    name: str
    strength: float = 1.0


async def get_thing(_: World, team: Name, name: Name, deep: bool = False) -> Answer[Colour]:
    return Answer(Colour(name=f"{team}/{name}/{deep}"), etag="7")


async def put_thing(
    _: World, who: Person, team: Name, name: Name, body: Colour, if_match: IfMatch = None
) -> Answer[Colour]:
    if if_match == '"1"':
        raise Conflict("It has changed.", "Read it again.")
    return Answer(Colour(name=f"{who.name}:{body.name}"), status=201)


async def check_job(_: World, body: Job) -> Job:
    return body


async def find(
    _: World,
    text: str = "",
    state: tuple[Name, ...] = (),
    limit: Annotated[int, Field(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    return {"text": text, "state": state, "limit": limit}


async def tell(
    world: World, last_event_id: LastEventId = None, accept: Accept = "*/*"
) -> EventStream[Colour] | TextAnswer:
    if accept == "text/plain":
        return TextAnswer("plain")

    async def events() -> AsyncIterator[tuple[int, Colour | str]]:
        after = int(last_event_id or 0)
        for number in range(after + 1, 4):
            yield number, Colour(name=f"event {number}")
        yield 4, '{"name":"raw"}'

    return EventStream(events())


async def tell_for_ever(world: World) -> EventStream[Colour]:
    async def events() -> AsyncIterator[tuple[int, Colour]]:
        try:
            yield 1, Colour(name="only one")
            await asyncio.Event().wait()
        finally:
            world.gone.set()

    return EventStream(events())


async def tell_and_fail(world: World) -> EventStream[Colour]:
    async def events() -> AsyncIterator[tuple[int, Colour]]:
        yield 1, Colour(name="one")
        raise Unavailable("The database does not answer.")

    return EventStream(events())


async def get_file(world: World, path: str) -> FileAnswer:
    return FileAnswer(world.root, path)


async def take_upload(world: World, body: Upload) -> dict[str, Any]:
    world.uploads.append(body.path)
    return {"size": body.size_bytes, "sha256": body.sha256, "there": body.path.is_file()}


async def break_down(_: World) -> Colour:
    raise RuntimeError("the secret is 42")


async def take_long(world: World) -> None:
    world.begun.set()
    await asyncio.sleep(0.3)
    world.gone.set()


async def say_healthy(_: World) -> dict[str, str]:
    return {"status": "ok"}


async def report(_: World, who: RunToken, run_id: str) -> None:
    return None


ROUTES = (
    Route("GET", "/things/{team}/{name}", get_thing, access=allow(Action.READ, team="team")),
    Route("PUT", "/things/{team}/{name}", put_thing, access=allow(Action.EDIT, team="team")),
    Route("POST", "/check", check_job, access=allow(Action.READ)),
    Route("GET", "/find", find, access=allow(Action.READ)),
    Route("GET", "/tell", tell, access=allow(Action.READ)),
    Route("GET", "/tell-for-ever", tell_for_ever, access=allow(Action.READ)),
    Route("GET", "/tell-and-fail", tell_and_fail, access=allow(Action.READ)),
    Route("GET", "/files/{path:path}", get_file, access=allow(Action.READ)),
    Route("PUT", "/uploads", take_upload, access=allow(Action.RUN), body_limit_bytes=3_000_000),
    Route("GET", "/broken", break_down, access=allow(Action.READ)),
    Route("POST", "/long", take_long, access=allow(Action.READ), status=204),
    Route("GET", "/health", say_healthy, access=PUBLIC),
    Route(
        "POST",
        "/runs/{run_id}/events",
        report,
        access=allow(Action.REPORT, run="run_id"),
        status=204,
    ),
)

CALLERS: dict[str, Who] = {
    "alice": Person(name="alice", levels=dict.fromkeys(("alice",), Level.LEAD)),
    "boss": Person(name="boss", admin=True),
    "run-1": RunToken(run_id="r-1"),
}


async def _sign_in(token: str) -> Who | None:
    return CALLERS.get(token)


@dataclass
class Served:
    world: World
    mounted: Mounted
    client: httpx.AsyncClient
    port: int
    told: list[tuple[str, str, int, float]]


@pytest.fixture
async def served(tmp_path):
    (tmp_path / "root").mkdir()
    world = World(tmp_path / "root")
    told = []
    mounted = Mounted(
        world,
        _sign_in,
        tmp_path / "spool",
        observe=lambda *seen: told.append(seen),
        keep_alive_seconds=0.05,
    )
    (server_socket,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application(handlers(ROUTES, mounted)), max_body_size=1 << 30)
    server.add_socket(server_socket)
    port = server_socket.getsockname()[1]
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/api/v1", headers=ALICE
    ) as client:
        yield Served(world, mounted, client, port, told)
    await mounted.end_streams()
    server.stop()
    await server.close_all_connections()


async def _problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    problem = answer.json()
    assert set(problem) == {"code", "message", "hint", "field", "details"}
    assert problem["message"].endswith(".")
    return answer.status_code, problem["code"], problem["field"]


async def test_path_query_and_body_reach_the_function(served):
    answer = await served.client.get("/things/alice/sales?deep=true")
    assert answer.json() == {"name": "alice/sales/True", "strength": 1.0}
    assert answer.headers["ETag"] == '"7"'
    answer = await served.client.put("/things/alice/sales", json={"name": "red"})
    assert (answer.status_code, answer.json()["name"]) == (201, "alice:red")
    answer = await served.client.get("/find?state=a&state=b&limit=7")
    assert answer.json() == {"text": "", "state": ["a", "b"], "limit": 7}


async def test_without_or_with_a_wrong_token_nothing_is_told(served):
    for headers in (
        {"Authorization": ""},
        {"Authorization": "Bearer nobody"},
        {"Authorization": "x"},
    ):
        answer = await served.client.get("/things/alice/sales", headers=headers)
        assert await _problem(answer) == (401, "unauthenticated", None)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    async with httpx.AsyncClient(base_url=served.client.base_url) as nobody:
        assert (await nobody.get("/health")).status_code == 200


async def test_a_caller_is_refused_what_belongs_to_another_team(served):
    answer = await served.client.get("/things/bob/sales")
    assert await _problem(answer) == (403, "forbidden", None)
    boss = {"Authorization": "Bearer boss"}
    assert (await served.client.get("/things/bob/sales", headers=boss)).status_code == 200


async def test_a_runs_token_may_report_that_run_and_nothing_else(served):
    run = {"Authorization": "Bearer run-1"}
    assert (await served.client.post("/runs/r-1/events", headers=run)).status_code == 204
    assert (await served.client.post("/runs/r-2/events", headers=run)).status_code == 403
    assert (await served.client.get("/find", headers=run)).status_code == 403
    assert (await served.client.post("/runs/r-1/events")).status_code == 403


async def test_a_large_body_is_not_awaited_from_somebody_unknown(served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = b"PUT /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n\r\n"
    writer.write(head + b"first bytes")
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.split()[1] == b"401"
    assert b"Connection: close" in answer
    writer.close()


async def test_a_refused_client_that_is_still_sending_learns_why(served):
    nobody = {"Authorization": ""}
    answer = await served.client.put("/uploads", content=b"x" * 2_900_000, headers=nobody)
    assert answer.status_code == 401
    assert not served.mounted.spool.exists()


async def test_an_unknown_address_is_404_and_a_wrong_verb_405(served):
    assert await _problem(await served.client.get("/nothing")) == (404, "not_found", None)
    answer = await served.client.delete("/things/alice/sales")
    assert await _problem(answer) == (405, "invalid", None)
    assert answer.headers["Allow"] == "GET, PUT"
    assert (await served.client.options("/find")).status_code == 405


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/things/alice/Sales", "name"),
        ("/things/alice/..%2f..%2fetc", "name"),
        ("/things/alice/a%00b", "name"),
        ("/things/alice/%F0%9F%98%80", "name"),
        ("/things/alice/sales?deep=perhaps", "deep"),
        ("/things/alice/sales?deap=true", "deap"),
        ("/things/alice/sales?deep=true&deep=false", "deep"),
        ("/things/alice/sales?name=other", "name"),
        ("/find?limit=0", "limit"),
        ("/find?limit=1e9", "limit"),
        ("/find?state=Not%20a%20name", "state.0"),
        ("/find?text=%ff", None),
        ("/things/alice/%ff", None),
    ],
)
async def test_a_malformed_address_names_the_field(served, path, field):
    assert await _problem(await served.client.get(path)) == (400, "invalid", field)


@pytest.mark.parametrize("path", ["/things/alice/%ff", "/things/alice/sales?deap=true", "/nowhere"])
async def test_a_refusal_awaits_the_body_and_leaves_the_connection_to_the_next(served, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = "Host: 127.0.0.1\r\nAuthorization: Bearer alice\r\nContent-Length: 2\r\n\r\n"
    for _ in range(2):
        writer.write(f"PUT /api/v1{path} HTTP/1.1\r\n{head}".encode())
        await writer.drain()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        writer.write(b"{}")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 40")
        assert b"Connection: close" not in answer
        length = int(re.search(rb"Content-Length: (\d+)", answer)[1])
        await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b'{"name": "\\ud800"}', None),
        (b'{"strength": 1}', "name"),
        (b'{"name": 1}', "name"),
        (b'{"name": "red", "strenght": 1}', "strenght"),
        (b'{"name": "red", "strength": NaN}', None),
        (b'{"name": "red", "strength": 1e999}', "strength"),
        (b"[" * 100_000, None),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, None),
    ],
)
async def test_a_malformed_body_is_400_and_names_the_field(served, body, field):
    answer = await served.client.put("/things/alice/sales", content=body)
    status, code, named = await _problem(answer)
    assert (status, code) == (400, "invalid")
    if field:
        assert named == field
    assert len(answer.content) < 2000


async def test_a_mistyped_key_is_told_the_nearest_one(served):
    job: dict[str, Any] = {
        "team": "a",
        "name": "b",
        "owner": "a",
        "snapshot_id": "0" * 64,
        "schedule": {"kind": "cron", "expresion": "0 6 * * *"},
        "tasks": [{"notebook": "a.ipynb"}],
    }
    problem = (await served.client.post("/check", json=job)).json()
    assert problem["field"] == "schedule.expresion"
    assert problem["message"] == "There is no key 'expresion' in schedule."
    assert problem["hint"].startswith("Did you mean 'expression'?")
    job["schedule"]["expression"] = job["schedule"].pop("expresion")
    job["tasks"][0]["notebook"] = "../a.ipynb"
    problem = (await served.client.post("/check", json=job)).json()
    assert problem["field"] == "tasks.0.notebook"
    assert problem["message"].startswith("tasks.0.notebook: the notebook's path must stay inside")


async def test_a_body_over_the_limit_is_413_whether_announced_or_not(served):
    large = b'{"name": "' + b"x" * 10_000_000 + b'"}'

    async def piecemeal() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 500_000):
            yield large[start : start + 500_000]

    for content in (large, piecemeal()):
        answer = await served.client.put("/things/alice/sales", content=content)
        assert await _problem(answer) == (413, "too_large", None)
    assert (await served.client.get("/find")).status_code == 200


async def test_an_upload_is_streamed_to_a_file_that_is_gone_afterwards(served):
    answer = await served.client.put("/uploads", content=b"x" * 2_500_000)
    assert answer.json()["size"] == 2_500_000
    assert answer.json()["there"] is True
    answer = await served.client.put("/uploads", content=b"x" * 3_000_001)
    assert await _problem(answer) == (413, "too_large", None)
    assert list(served.mounted.spool.iterdir()) == []


async def test_an_upload_that_breaks_off_leaves_nothing(served):
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        b"PUT /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice\r\n"
        b"Content-Length: 2000000\r\n\r\n" + b"x" * 1_500_000
    )
    await writer.drain()
    await _until(lambda: served.mounted.spool.is_dir() and any(served.mounted.spool.iterdir()))
    writer.transport.abort()
    await _until(lambda: not any(served.mounted.spool.iterdir()))
    assert served.world.uploads == []


async def test_an_unexpected_error_keeps_its_secrets_and_gives_a_number(served, caplog):
    answer = await served.client.get("/broken")
    assert await _problem(answer) == (500, "failed", None)
    assert "secret" not in answer.text
    number = answer.json()["hint"].rsplit(" ", 1)[-1].rstrip(".")
    assert f"error {number} of GET /api/v1/broken" in caplog.text
    assert "the secret is 42" in caplog.text


async def test_a_matching_etag_is_answered_with_304(served):
    answer = await served.client.get("/things/alice/sales", headers={"If-None-Match": '"7"'})
    assert (answer.status_code, answer.content) == (304, b"")
    answer = await served.client.put(
        "/things/alice/sales", json={"name": "red"}, headers={"If-Match": '"1"'}
    )
    assert await _problem(answer) == (409, "conflict", None)


async def test_only_loopback_host_names_are_answered(served):
    for host, status in (
        ("127.0.0.1", 200),
        ("localhost:99", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
    ):
        assert (await served.client.get("/health", headers={"Host": host})).status_code == status


async def test_a_stream_has_ids_resumes_after_one_and_says_its_end(served):
    answer = await served.client.get("/tell")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    first, *_, last, end, nothing = answer.text.split("\n\n")
    assert first == 'id: 1\ndata: {"name":"event 1","strength":1.0}'
    assert last == 'id: 4\ndata: {"name":"raw"}'
    assert (end, nothing) == ("event: end\ndata: {}", "")
    answer = await served.client.get("/tell", headers={"Last-Event-ID": "2"})
    assert answer.text.startswith("id: 3\n")
    assert (await served.client.get("/tell", headers={"Accept": "text/plain"})).text == "plain"


async def test_a_silent_stream_is_kept_alive_and_ends_with_its_reader(served):
    async with served.client.stream("GET", "/tell-for-ever") as answer:
        lines = answer.aiter_lines()
        assert [await anext(lines) for _ in range(5)][-1] == ""
        assert await anext(lines) == ": still here"
    await asyncio.wait_for(served.world.gone.wait(), 5)


async def test_a_stream_is_cut_when_its_reader_is_nobody_any_more(served, monkeypatch):
    served.mounted.recognised_seconds = 0
    async with served.client.stream("GET", "/tell-for-ever") as answer:
        lines = answer.aiter_lines()
        while await anext(lines) != ": still here":
            pass
        monkeypatch.delitem(CALLERS, "alice")
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in lines:
                pass
    await asyncio.wait_for(served.world.gone.wait(), 5)


async def test_a_shutdown_cuts_streams_without_their_end_so_that_readers_come_back(served):
    async with served.client.stream("GET", "/tell-for-ever") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "id: 1"
        await served.mounted.end_streams()
        with pytest.raises(httpx.RemoteProtocolError):
            [line async for line in lines]
    assert served.world.gone.is_set()


async def test_a_stream_that_fails_says_why(served):
    answer = await served.client.get("/tell-and-fail")
    assert answer.text.endswith(
        'event: problem\ndata: {"code":"unavailable","message":"The database does not answer.",'
        '"hint":"","field":null,"details":""}\n\n'
    )


async def test_a_file_is_sent_as_it_is_and_shown_by_no_browser(served):
    content = bytes(range(256)) * 10_000
    (served.world.root / "a b.html").write_bytes(content)
    answer = await served.client.get("/files/a%20b.html")
    assert answer.content == content
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20b.html"


async def test_no_file_outside_the_root_is_sent(served, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (served.world.root / "link").symlink_to(tmp_path / "secret")
    (served.world.root / "inner").mkdir()
    paths = (
        "link",
        "inner",
        "nothing",
        "..%2fsecret",
        "inner/..%2f..%2fsecret",
        "a%00b",
        f"%2f{tmp_path}/secret",
        "x" * 5000,
    )
    for path in paths:
        assert await _problem(await served.client.get(f"/files/{path}")) == (
            404,
            "not_found",
            None,
        ), path
    raw = http.client.HTTPConnection("127.0.0.1", served.port)
    await asyncio.to_thread(raw.request, "GET", "/api/v1/files/../../secret", headers=ALICE)
    assert (await asyncio.to_thread(raw.getresponse)).status == 404
    raw.close()


async def test_a_route_cannot_be_made_without_saying_who_may_call_it():
    with pytest.raises(TypeError):
        Route("GET", "/find", find)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Route("GET", "/find", find, access=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Route("GET", "/find", find, access=Access(Action.READ, team="team"))


async def test_requests_are_counted_by_route_not_by_address(served):
    await served.client.get("/things/alice/sales")
    await served.client.get("/nothing/" + "x" * 100)
    await _until(lambda: len(served.told) == 2)
    assert [seen[:3] for seen in served.told] == [
        ("GET", "/things/{team}/{name}", 200),
        ("GET", "other", 404),
    ]


async def _until(holds, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


async def test_what_changes_something_is_finished_before_a_shutdown_goes_on(served):
    asked = asyncio.create_task(served.client.post("/long"))
    await served.world.begun.wait()
    asked.cancel()
    assert not served.world.gone.is_set()
    await served.mounted.let_go()
    assert served.world.gone.is_set()
