"""`element run`: notebook where it lies, with nothing else running."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from element_jupyter.cli.main import main
from tests.runner.conftest import PROJECT, alive, code, notebook, until


def start(path, *options, stderr=subprocess.PIPE):
    command = [sys.executable, "-m", "element_jupyter.cli.main", "run", str(path), *options]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, cwd=path.parent
    )


def run(path, *options):
    process = start(path, *options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def at(tmp_path):
    def write(*cells):
        path = tmp_path / "notebook.ipynb"
        nbformat.write(notebook(*cells), path)
        return path

    return write


def test_a_notebook_runs_where_it_lies_and_says_a_line_for_each_cell(at):
    path = at(code("n = 1\nname = 'x'", "parameters"), "open('out.txt', 'w').write(name * n)")
    before = path.read_bytes()

    rc, out, err = run(path, "-p", "n", "3", "-p", "name", "5")

    assert rc == 0, err
    written = Path(out.strip())
    assert written == path.with_name("notebook-output.ipynb")
    assert (path.parent / "out.txt").read_text() == "555"
    assert path.read_bytes() == before
    lines = err.splitlines()
    assert lines[0].startswith("[1/3]")
    assert lines[2].endswith("ok  open('out.txt', 'w').write(name * n)")
    assert "succeeded after" in lines[3]
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "notebook-output.ipynb",
        "notebook.ipynb",
        "out.txt",
    ]


def test_a_failure_shows_the_cell_the_error_and_where_to_look(at):
    path = at("x = 1", "y = 0\nx / y")

    rc, out, err = run(path)

    assert rc == 1
    assert "Cell 2 failed:\n    y = 0\n    x / y\nZeroDivisionError: division by zero" in err
    assert nbformat.read(out.strip(), as_version=4).metadata.element.state == "failed"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("-p m 1", "no parameter 'm'"),
        ("-p n x", "Parameter 'n' is a whole number"),
        ("-p n 1 -p n 2", "given twice"),
        ("--kernel cobol", "There is no kernel 'cobol' here."),
        ("--size big", "gets what this machine has"),
        ("--environment env.yml", "Environments are switched off here"),
        ("-o notebook.ipynb", "would overwrite the notebook"),
        ("-o no/such/out.ipynb", "There is no directory"),
    ],
)
def test_wrong_use_is_told_in_words(at, options, sentence, monkeypatch, capsys):
    path = at(code("n = 1", "parameters"))
    monkeypatch.chdir(path.parent)

    assert main(["run", path.name, *options.split()]) == 2
    assert sentence in capsys.readouterr().err


def test_json_lines_are_the_events(at):
    rc, out, _ = run(at("1 + 1"), "--json")

    events = [json.loads(line) for line in out.splitlines()]
    assert rc == 0
    assert events[0]["kind"] == "run_started"
    assert events[-1]["state"] == "succeeded"
    assert events[-1]["sequence"] == len(events)


def test_a_terminal_shows_the_current_cell(at):
    master, slave = pty.openpty()
    process = start(at("import time", "time.sleep(1.2)"), stderr=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        shown += chunk
    os.close(master)
    process.communicate(timeout=30)

    assert process.returncode == 0
    assert b"1/2" in shown
    assert b"time.sleep(1.2)" in shown


def test_ctrl_c_stops_the_run_and_a_second_one_at_once(at):
    source = """
import os, signal, time
open('pid', 'w').write(str(os.getpid()))
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        open('asked', 'w').close()
"""
    path = at(source)
    process = start(path)
    pid_file = path.with_name("pid")
    until(lambda: pid_file.exists() and pid_file.read_text(), 30)

    process.send_signal(signal.SIGINT)
    until(path.with_name("asked").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=9)

    assert process.returncode == 1
    assert "stopped after" in err
    assert not alive(int(pid_file.read_text()))
    assert nbformat.read(out.strip(), as_version=4).metadata.element.state == "stopped"
