"""What jobs were at each version of the bundle."""

import pytest

from element_jupyter.provider.history import append, newest, read


def test_a_version_reads_what_was_then(tmp_path):
    path = tmp_path / "acme--report.jsonl"
    append(path, 2, '{"a": 1}')
    append(path, 5, '{"a": 2}')
    assert read(path, 4) == '{"a": 1}'
    assert read(path, 5) == newest(path) == '{"a": 2}'
    with pytest.raises(LookupError):
        read(path, 1)


def test_a_line_that_a_kill_cut_short_is_passed_over(tmp_path):
    path = tmp_path / "acme--report.jsonl"
    append(path, 2, '{"a": 1}')
    path.write_text(path.read_text() + '3 {"a": ')
    assert newest(path) == '{"a": 1}'
    append(path, 3, '{"a": 3}')
    assert newest(path) == read(path, 3) == '{"a": 3}'


def test_a_change_that_is_told_twice_changes_nothing(tmp_path):
    path = tmp_path / "acme--report.jsonl"
    for _ in range(2):
        append(path, 2, '{"a": 1}')
    assert read(path, 2) == '{"a": 1}'


def test_a_job_that_never_was_has_nothing(tmp_path):
    assert newest(tmp_path / "acme--nothing.jsonl") is None
