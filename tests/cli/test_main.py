"""How the command line begins and ends, whichever command it is."""

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys

import pytest
import typer

from element_jupyter.cli.main import COMMANDS, main

ELEMENT = [sys.executable, "-m", "element_jupyter.cli"]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A data directory where nothing runs."""
    monkeypatch.setenv("ELEMENT_DATA_DIR", str(tmp_path))
    return tmp_path


def test_help_names_every_command_and_imports_none_of_them():
    script = (
        "import sys; from element_jupyter.cli.main import main; main(['--help']); "
        "heavy = {'pydantic', 'httpx', 'croniter', 'traitlets'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f" {name} " in done.stdout


def code_of(name):
    entry = COMMANDS[name]
    return getattr(importlib.import_module(f"element_jupyter.cli.{entry.module}"), entry.attribute)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    code = code_of(name)
    group = isinstance(code, typer.Typer)
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: element {name}" in said
    commands = [each.callback for each in code.registered_commands] if group else [code]
    for command in commands:
        assert inspect.getdoc(command)
        options = inspect.signature(command).parameters
        assert name == "up" or "as_json" in options
    for each in code.registered_commands if group else []:
        assert main([name, each.name or each.callback.__name__, "--help"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (["shedule"], "No such command 'shedule'. Did you mean 'schedule'?", "element --help"),
        (["jobs", "lst"], "No such command 'lst'", "element jobs --help"),
        (["jobs", "list", "--nope"], "No such option: --nope", "element jobs list --help"),
        (["schedule"], "Missing argument", "element schedule --help"),
        (
            ["runs", "list", "--limit", "0"],
            "Input should be greater than or equal to 1",
            "element runs list --help",
        ),
        (["runs", "list", "--state", "odd"], "'odd' is not one of", "element runs list --help"),
    ],
)
def test_wrong_use_is_a_sentence_and_a_hint_and_exit_2(words, sentence, hint, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert hint in said.err
    assert main([*words, "--json"]) == 2
    problem = json.loads(capsys.readouterr().out)
    assert problem["code"] == "invalid"


@pytest.mark.parametrize(
    "words",
    [["jobs", "list"], ["jobs", "show", "x"], ["runs", "list"], ["runs", "logs", "last"]],
)
def test_without_a_platform_the_exit_code_is_3(words, nowhere, capsys):
    assert main(words) == 3
    assert f"Error: Element does not run on {nowhere}.\nHint: Start it with `element up`." in (
        capsys.readouterr().err
    )
    assert main([*words, "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["code"] == "unavailable"
    assert said.err == ""


def test_a_platform_that_has_gone_is_named_by_its_address(nowhere, capsys):
    state = {
        "pid": 1, "started_at": "2026-01-01T00:00:00Z", "service_url": "http://127.0.0.1:9",
        "airflow_url": None, "ready": True, "processes": {},
    }  # fmt: skip
    (nowhere / "state.json").write_text(json.dumps(state))
    (nowhere / "token").write_text("secret")
    assert main(["runs", "list"]) == 3
    said = capsys.readouterr().err
    assert "The control plane does not answer at http://127.0.0.1:9." in said
    assert "secret" not in said


def test_a_malformed_configuration_is_a_sentence(nowhere, capsys, monkeypatch):
    monkeypatch.setenv("ELEMENT_HOST", "0.0.0.0")
    assert main(["jobs", "list"]) == 2
    assert "listens on loopback" in capsys.readouterr().err


def test_the_schema_is_a_json_schema_with_descriptions(capsys):
    assert main(["schema", "job"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["tasks"]["description"]
    assert schema["additionalProperties"] is False


def test_a_reader_that_goes_away_is_no_error():
    with subprocess.Popen(
        [*ELEMENT, "schema", "job"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_terminal_without_unicode_gets_question_marks(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    done = subprocess.run(
        [*ELEMENT, "schedule", "näh.ipynb", "--data", tmp_path],
        env=environment, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"There is no notebook 'n?h.ipynb'" in done.stderr
    assert b"\x1b" not in done.stderr


def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path):
    script = (
        "import sys, time, typer\n"
        "from element_jupyter.cli import main as command\n"
        "def wait():\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "command._load = lambda entry: wait\n"
        "sys.exit(command.main(['status']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b""


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("element ")


@pytest.mark.parametrize("words", [["-p", "name"], ["-pname"], ["--parameter=name"]])
def test_a_parameter_without_a_value_is_said(words, capsys):
    assert main(["schedule", "a.ipynb", *words]) == 2
    assert "'name' lacks the value" in capsys.readouterr().err
