"""A build tells in a file, which others follow while it grows."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from element_jupyter.adapters.environment_store import BuildLog
from element_jupyter.core.environments.building import BuildEvent, Phase


def event(sequence: int, message: str = "") -> BuildEvent:
    return BuildEvent(
        sequence=sequence, at=datetime.now(UTC), phase=Phase.INSTALLING, message=message
    )


@pytest.fixture
def path(store):
    return store.build_directory("a" * 64) / "events.jsonl"


def test_what_was_told_is_read_on_from_anywhere(store, path):
    log = BuildLog(path)
    assert log.read() == []
    events = [event(number) for number in range(1, 6)]
    for each in events:
        log.append(each)
    assert store.build_log("a" * 64).read() == events
    assert log.read(3) == events[3:]
    assert log.read(0) == events
    assert log.read(5) == []
    log.append(event(6))
    assert [each.sequence for each in log.read(5)] == [6]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [b"{", b'{"sequence":2,"at"', b'{"sequence": 99}'])
def test_a_torn_last_line_is_left_out_and_harms_nothing_after_it(path, torn):
    log = BuildLog(path)
    log.append(event(1))
    with path.open("ab") as file:
        file.write(torn)
    follower = BuildLog(path)
    assert [each.sequence for each in follower.read()] == [1]
    BuildLog(path).append(event(2))
    assert [each.sequence for each in follower.read(1)] == [2]
    assert [each.sequence for each in BuildLog(path).read()] == [1, 2]


def test_a_line_is_read_when_it_is_whole(path):
    BuildLog(path).append(event(1))
    line = event(2).model_dump_json().encode() + b"\n"
    follower = BuildLog(path)
    with path.open("ab", buffering=0) as file:
        for position in range(0, len(line), 7):
            assert [each.sequence for each in follower.read(0)] == [1]
            file.write(line[position : position + 7])
    assert [each.sequence for each in follower.read(1)] == [2]


def test_a_follower_begins_anew_with_the_builder(path):
    follower = BuildLog(path)
    for _ in range(3):
        log = BuildLog(path)
        log.clear()
        for number in range(1, 4):
            log.append(event(number))
        assert [each.sequence for each in follower.read(0)] == [1, 2, 3]
        log.clear()
        assert follower.read(3) == []
        log.append(event(1, "again"))
        log.append(event(2, "x" * 1000))
        assert [each.message[:5] for each in follower.read(0)] == ["again", "xxxxx"]


def test_a_follower_misses_nothing_while_a_build_tells(path):
    many = 500

    def tell() -> None:
        log = BuildLog(path)
        for number in range(1, many + 1):
            log.append(event(number, "é" * (number % 300)))

    builder = threading.Thread(target=tell)
    builder.start()
    follower, seen = BuildLog(path), []
    while not seen or seen[-1] < many:
        seen += [each.sequence for each in follower.read(seen[-1] if seen else 0)]
    builder.join()
    assert seen == list(range(1, many + 1))
