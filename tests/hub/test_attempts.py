"""How often a password may be tried, and who a request comes from."""

from __future__ import annotations

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from element_jupyter.hub.authentication.attempts import Attempts, client_address


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_five_wrong_passwords_are_free_and_then_each_pause_is_twice_the_last(clock):
    attempts, pauses = Attempts(clock), []
    for _ in range(20):
        pauses.append(attempts.pause_seconds("ada", "192.0.2.1"))
        clock.seconds += pauses[-1]
        attempts.begin("ada", "192.0.2.1")

    assert pauses[:9] == [0, 0, 0, 0, 0, 1, 2, 4, 8]
    assert max(pauses) == 900


def test_another_address_does_not_help_with_the_same_name(clock):
    attempts = Attempts(clock)
    for number in range(5):
        attempts.begin("ada", f"192.0.2.{number}")

    assert attempts.pause_seconds("ada", "192.0.2.77") > 0
    assert attempts.pause_seconds("bo", "192.0.2.77") == 0


def test_another_name_does_not_help_from_the_same_address(clock):
    attempts = Attempts(clock)
    for number in range(20):
        attempts.begin(f"person{number}", "192.0.2.1")

    assert attempts.pause_seconds("somebody", "192.0.2.1") > 0
    assert attempts.pause_seconds("somebody", "192.0.2.2") == 0


def test_many_at_once_are_no_way_around(clock):
    attempts = Attempts(clock)
    let_in = 0
    for _ in range(100):  # none has been compared yet
        if not attempts.pause_seconds("ada", "192.0.2.1"):
            attempts.begin("ada", "192.0.2.1")
            let_in += 1

    assert let_in == 5


def test_a_right_password_ends_the_pauses_of_that_name_and_not_of_the_address(clock):
    attempts = Attempts(clock)
    for number in range(20):
        attempts.begin(f"person{number}", "192.0.2.1")
    attempts.begin("ada", "192.0.2.1")
    attempts.was_right("ada", "192.0.2.1")

    assert attempts.pause_seconds("ada", "192.0.2.2") == 0
    assert attempts.pause_seconds("ada", "192.0.2.1") > 0


def test_what_was_wrong_is_forgotten_after_an_hour(clock):
    attempts = Attempts(clock)
    for _ in range(30):
        attempts.begin("ada", "192.0.2.1")
    clock.seconds += 3601

    assert attempts.pause_seconds("ada", "192.0.2.1") == 0


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
