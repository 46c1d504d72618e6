"""`element usage`, of notebooks that really run."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import pytest

from tests.cli.control_plane import a_project
from tests.platform_fixture import wait_until

GROWING = "import time\nheld = bytearray(200_000_000)\ntime.sleep(3)"


@pytest.fixture
def a_run(element, tmp_path) -> Iterator[str]:
    """The id of a run that has ended, of three cells."""
    project = a_project(tmp_path / "hungry", "x = 1", GROWING, name="hungry")
    assert element("schedule", project / "hungry.ipynb", "--name", "hungry").code == 0
    said = element("runs", "start", "hungry", "--follow", "--json")
    assert said.code == 0, said.err
    run_id = element("runs", "list", "--job", "ada/hungry", "--json").json["items"][0]["run_id"]
    yield run_id
    element("jobs", "delete", "hungry", "--yes")


def test_the_cells_of_a_run_and_its_memory_over_time_are_shown_in_80_columns(element, a_run):
    said = element("usage", "run", a_run)

    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "First line" in lines[1]
    assert "GPU" not in said.out
    (growing,) = (line for line in lines if line.strip().startswith("3 "))
    assert "MiB" in growing
    assert any(line.strip().startswith("all ") for line in lines)
    (title,) = (number for number, line in enumerate(lines) if line.startswith("Memory over "))
    chart = lines[title + 1 : title + 5]
    assert chart[0].lstrip()[0].isdigit()
    assert chart[0].count("█") > 5
    assert chart[3].strip().startswith("0 ")

    as_json = element("usage", "run", "last", "--json").json
    assert as_json["run_id"] == a_run
    assert [cell["index"] for cell in as_json["cells"]] == [0, 1, 2]
    assert as_json["total"]["peak_memory_bytes"] > 200_000_000
    assert as_json["cells"][2]["peak_memory_bytes"] == as_json["total"]["peak_memory_bytes"]
    assert max(point["memory_bytes"] for point in as_json["over_time"]) > 200_000_000
    assert as_json["out_of_memory"] is False


def test_a_run_that_is_not_there_is_wrong_use(element):
    said = element("usage", "run", "r-" + "0" * 26)

    assert said.code == 2
    assert "no run" in said.err.lower()


def test_usage_of_a_platform_that_does_not_run_says_so(element, monkeypatch, tmp_path):
    monkeypatch.setenv("ELEMENT_DATA_DIR", str(tmp_path))

    assert element("usage", "run", "last").code == 3


def test_what_could_be_saved_is_shown_or_that_there_is_nothing(element):
    shown = element("usage", "advice")
    assert shown.code == 0, shown.err
    assert "Nothing that is started often needs another size." in shown.out
    assert element("usage", "advice", "--all", "--json").json == {
        "currency": "USD",
        "items": [],
        "spot_able": [],
    }
    refused = element("usage", "advice", "--team", "NO SUCH TEAM")
    assert refused.code == 2


def test_what_is_kept_is_shown_once_it_was_measured(element):
    shown = element("usage", "storage", "--measure")
    assert shown.code == 0, shown.err
    assert "Nothing has been measured yet." in shown.out
    assert "measured again" in shown.err
    assert element("usage", "storage", "--all", "--json").json["items"] == []


def test_a_report_says_what_runs_were_given_and_is_written_as_csv(element, a_run, tmp_path):
    def told() -> bool:
        return element("usage", "--by", "job", "--json").json["total"]["used_cpu_hours"] > 0

    wait_until(told, 60)  # it is counted every few seconds
    said = element("usage", "--by", "job,day")
    assert said.code == 0, said.err
    assert all(len(line) <= 80 for line in said.out.splitlines())
    (hungry,) = (line for line in said.out.splitlines() if "ada/hungry" in line)
    assert "%" in hungry
    assert any(line.strip().startswith("all ") for line in said.out.splitlines())

    file = tmp_path / "usage.csv"
    assert element("usage", "--by", "job", "--format", "csv", "-o", file).code == 0
    heading, *rows = csv.reader(file.read_text().splitlines())
    assert heading[:2] == ["job", "count"]
    assert [row[0] for row in rows] == ["ada/hungry"]


def test_a_report_that_cannot_be_written_so_is_wrong_use(element):
    assert element("usage", "--format", "parquet").code == 2
    assert element("usage", "--by", "planet").code == 2
