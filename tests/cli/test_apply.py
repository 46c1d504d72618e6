"""`element apply`: job files, each by itself."""

import io
import sys

import pytest

JOB = """\
apiVersion: element/v1
kind: Job
project: {project}
team: ada
name: {name}
owner: ada
schedule:
  kind: cron
  expression: "0 6 * * *"
tasks:
  - name: main
    notebook: sales.ipynb
    parameters: {{factor: {factor}}}
"""


def job_file(tmp_path, name, *, project="project", factor=2, text=JOB):
    path = tmp_path / f"{name}.yaml"
    path.write_text(text.format(project=project, name=name, factor=factor))
    return path


def test_a_file_is_applied_once_and_then_unchanged(element, project, tmp_path):
    path = job_file(tmp_path, "applied")
    assert "ada/applied created" in element("apply", "-f", path).out
    assert "ada/applied unchanged" in element("apply", "-f", path).out


def test_a_change_is_shown_as_a_diff(element, project, tmp_path):
    element("apply", "-f", job_file(tmp_path, "changing"))
    path = job_file(tmp_path, "changing", factor=5)
    dry = element("apply", "-f", path, "--dry-run")
    assert dry.code == 0
    assert "ada/changing would be updated" in dry.out
    assert "-    factor: 2" in dry.out
    assert "+    factor: 5" in dry.out
    assert element("jobs", "show", "changing", "--json").json["version"] == 1
    assert "ada/changing updated" in element("apply", "-f", path).out
    assert element("jobs", "show", "changing", "--json").json["version"] == 2


def test_a_stored_file_with_its_snapshot_id_applies_as_it_is(
    element, project, tmp_path, control_plane
):
    element("apply", "-f", job_file(tmp_path, "kept"))
    path = control_plane.data / "jobs" / "ada" / "kept" / "job.yaml"
    assert "snapshot_id:" in path.read_text()
    assert "ada/kept unchanged" in element("apply", "-f", path).out


def test_one_bad_file_of_a_directory_harms_no_other(element, project, tmp_path):
    files = tmp_path / "jobs"
    files.mkdir()
    job_file(files, "good-one", project="../project")
    job_file(files, "good-two", project="../project")
    (files / "bad.yaml").write_text("apiVersion: element/v1\nkind: Job\nteem: ada\n")
    said = element("apply", "-f", files)
    assert said.code == 2
    assert "ada/good-one created" in said.out
    assert "ada/good-two created" in said.out
    assert f"{files / 'bad.yaml'}:3: There is no key 'teem'" in said.err
    assert "Did you mean 'team'?" in said.err
    again = element("apply", "-f", files, "--json")
    assert again.code == 2
    by_file = {item["file"].rpartition("/")[2]: item for item in again.json["items"]}
    assert by_file["bad.yaml"]["line"] == 3
    assert by_file["good-one.yaml"]["change"] == "unchanged"


def test_a_job_comes_from_standard_input_too(element, project, tmp_path, monkeypatch):
    text = JOB.format(project="project", name="piped", factor=1)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert "ada/piped created" in element("apply", "-f", "-").out


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: [1\n", 2, "This is not YAML"),
        ("a: &x 1\nb: *x\n", 2, "Aliases (*name) are not allowed"),
        (JOB.replace("project: {project}\n", ""), None, "snapshot_id: it is required"),
        (JOB.replace("{project}", "nowhere"), 3, "project: there is no directory"),
        (JOB.replace("{project}", "[1]"), 3, "project: it must be a directory"),
        (JOB.replace("owner: ada", "snapshot_id: " + "0" * 64), 3, "'project' or 'snapshot_id'"),
        (JOB.replace("sales.ipynb", "sale.ipynb"), None, "'sale.ipynb' is not among the files"),
        (JOB.replace("0 6 * * *", "0 25 * * *"), None, "hour 25 is not between 0 and 23"),
        (
            JOB.replace("factor: {factor}", "factr: 1"),
            None,
            "The notebook has no parameter 'factr'",
        ),
        (JOB.replace("factor: {factor}", "factor: [1]"), None, "is a whole number"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(text, line, sentence, element, project, tmp_path):
    path = job_file(tmp_path, "wrong", text=text)
    said = element("apply", "-f", path)
    assert said.code == 2
    assert f"{path}:{line}: " in said.err if line else f"{path}" in said.err
    assert sentence in said.err


def test_a_missing_file_and_an_empty_directory_are_said(element, tmp_path):
    assert "There is no file 'gone.yaml'" in element("apply", "-f", "gone.yaml").err
    said = element("apply", "-f", tmp_path)
    assert said.code == 2
    assert "There is no job file in" in said.err


def test_the_example_applies(element):
    from pathlib import Path

    example = Path(__file__).parents[2] / "examples" / "digits" / "job.yaml"
    text = example.read_text().replace("team: me", "team: ada").replace("owner: me", "owner: ada")
    path = Path("job.yaml")
    path.write_text(text.replace("project: .", f"project: {example.parent}"))
    said = element("apply", "-f", path, "--dry-run")
    assert said.code == 0, said.err
    assert "ada/digits would be created" in said.out
