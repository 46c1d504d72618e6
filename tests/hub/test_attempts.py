"""How often a password may be tried, and who a request comes from."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from element_jupyter.hub.authentication.attempts import Attempts, client_address, limits


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Iterator[Attempts]:
    attempts = Attempts(clock)
    yield attempts
    attempts.close()


def test_five_wrong_passwords_are_free_and_then_each_pause_is_twice_the_last(clock, attempts):
    counted, pauses = limits("ada", "192.0.2.1"), []
    for _ in range(20):
        pauses.append(attempts.pause_seconds(counted))
        clock.seconds += pauses[-1]
        attempts.begin(counted)

    assert pauses[:9] == [0, 0, 0, 0, 0, 1, 2, 4, 8]
    assert max(pauses) == 900


def test_another_address_does_not_help_with_the_same_name(attempts):
    for number in range(5):
        attempts.begin(limits("ada", f"192.0.2.{number}"))

    assert attempts.pause_seconds(limits("ada", "192.0.2.77")) > 0
    assert attempts.pause_seconds(limits("bo", "192.0.2.77")) == 0


def test_another_name_does_not_help_from_the_same_address(attempts):
    for number in range(20):
        attempts.begin(limits(f"person{number}", "192.0.2.1"))

    assert attempts.pause_seconds(limits("somebody", "192.0.2.1")) > 0
    assert attempts.pause_seconds(limits("somebody", "192.0.2.2")) == 0


def test_many_at_once_are_no_way_around(attempts):
    counted, let_in = limits("ada", "192.0.2.1"), 0
    for _ in range(100):  # none has been compared yet
        if not attempts.pause_seconds(counted):
            attempts.begin(counted)
            let_in += 1

    assert let_in == 5


def test_a_right_password_ends_the_pauses_of_that_name_and_not_of_the_address(attempts):
    for number in range(20):
        attempts.begin(limits(f"person{number}", "192.0.2.1"))
    attempts.begin(limits("ada", "192.0.2.1"))
    attempts.was_right(limits("ada", "192.0.2.1"))

    assert attempts.pause_seconds(limits("ada", "192.0.2.2")) == 0
    assert attempts.pause_seconds(limits("ada", "192.0.2.1")) > 0


def test_what_nobody_could_compare_counts_for_nothing(attempts):
    counted = limits("ada", "192.0.2.1")
    for _ in range(30):
        attempts.begin(counted)
        attempts.take_back(counted)

    assert attempts.pause_seconds(counted) == 0


def test_what_was_wrong_is_forgotten_after_an_hour(clock, attempts):
    for _ in range(30):
        attempts.begin(limits("ada", "192.0.2.1"))
    clock.seconds += 3601

    assert attempts.pause_seconds(limits("ada", "192.0.2.1")) == 0


def test_a_clock_that_is_set_back_prolongs_no_pause(clock, attempts):
    for _ in range(6):
        attempts.begin(limits("ada", "192.0.2.1"))
    clock.seconds -= 100_000

    assert attempts.pause_seconds(limits("ada", "192.0.2.1")) == 2


def test_whoever_keeps_guessing_cannot_shut_a_person_out_of_a_browser_of_theirs(clock, attempts):
    own = limits("ada", "192.0.2.1", browser="b1")
    for _ in range(100):
        attempts.begin(limits("ada", "192.0.2.1"))  # even from the same office

    assert attempts.pause_seconds(limits("ada", "192.0.2.9")) > 0
    assert attempts.pause_seconds(own) == 0
    for _ in range(5):  # and the browser is no way to guess
        attempts.begin(own)
    assert attempts.pause_seconds(own) > 0


def test_a_restart_gives_nobody_a_fresh_start(clock, tmp_path):
    counted, file = limits("ada", "192.0.2.1"), tmp_path / "attempts.sqlite"
    before = Attempts(clock, file)
    for _ in range(6):
        before.begin(counted)
    after = Attempts(clock, file)  # while the one before has not been closed: it was killed

    assert after.pause_seconds(counted) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"ada" not in file.read_bytes()  # the password, perhaps, in the wrong place
    before.close()
    after.close()


def test_a_flood_of_names_does_not_wash_away_what_was_wrong_often(monkeypatch, attempts):
    monkeypatch.setattr("element_jupyter.hub.authentication.attempts._REMEMBERED", 50)
    guessed = limits("ada", "192.0.2.1")
    for _ in range(6):
        attempts.begin(guessed)
    for number in range(200):
        attempts.begin(limits(f"person{number}", f"198.51.100.{number}"))

    assert attempts.pause_seconds(guessed) > 0
    assert attempts.remembered() <= 50


@pytest.mark.parametrize(
    ("proxies", "said", "address"),
    [
        ({"127.0.0.1"}, ["203.0.113.9"], "203.0.113.9"),
        ({"127.0.0.1"}, ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the first is a visitor's
        ({"127.0.0.1"}, ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ({"127.0.0.1"}, [], "127.0.0.1"),
        ({"192.0.2.7"}, ["198.51.100.1"], "127.0.0.1"),  # it comes from no proxy: not believed
    ],
)
async def test_only_the_proxy_says_who_a_request_comes_from(proxies, said, address):
    class Handler(RequestHandler):
        def get(self) -> None:
            self.write(client_address(self.request, proxies))

    # as the Hub listens: what the header says is taken for the address by everything else
    server = HTTPServer(Application([("/", Handler)]), xheaders=True)
    socket = bind_sockets(0, "127.0.0.1")
    server.add_sockets(socket)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(
                f"http://127.0.0.1:{socket[0].getsockname()[1]}/",
                headers=[("X-Forwarded-For", line) for line in said],
            )
    finally:
        server.stop()
        await server.close_all_connections()

    assert answer.text == address
