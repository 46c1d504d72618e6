"""Quotas at the terminal: shown, exported, applied, undone, asked for and granted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from element_jupyter.cli.quota_files import read, written
from element_jupyter.core.quotas.rules import Quotas

FILE = """
timezone: Europe/Zurich
contact: help@example.org
quotas:
  - who: everyone
    largest: {memory_bytes: 32 GiB}
    at_once: {runs: 50, servers: 20}
    budgets: [{per: 7 days, gpu_hours: 20}]
"""


@pytest.fixture
def quotas(element, tmp_path):
    """A file that is applied; afterwards there is no limit again."""
    file = tmp_path / "quotas.yaml"
    file.write_text(FILE)
    assert element("quota", "apply", "-f", file).code == 0
    yield file
    empty = tmp_path / "empty.yaml"
    empty.write_text("quotas: []")
    assert element("quota", "apply", "-f", empty).code == 0


def test_what_is_exported_and_applied_again_changes_nothing(element, quotas, tmp_path):
    exported = tmp_path / "exported.yaml"
    said = element("quota", "export", "-o", exported)
    version = element("quota", "export", "--json").json["version"]

    assert said.code == 0, said.err
    assert "32 GiB" in exported.read_text()
    assert read(exported) == read(quotas)
    again = element("quota", "apply", "-f", exported)
    assert f"Nothing to change: version {version} says the same." in again.out
    assert element("quota", "export").out == exported.read_text()


def test_a_dry_run_says_what_would_change_and_undo_takes_it_back(element, quotas):
    before = element("quota", "export", "--json").json
    quotas.write_text(FILE.replace("runs: 50", "runs: 5"))

    would = element("quota", "apply", "-f", quotas, "--dry-run")
    assert would.code == 0, would.err
    assert "everyone: 5 runs at once, was 50 runs at once." in would.out
    assert "everyone: affects" in would.out
    assert "Nothing that runs now would be over." in would.out
    assert element("quota", "export", "--json").json["version"] == before["version"]
    done = element("quota", "apply", "-f", quotas, "--reason", "a smaller machine", "--json")
    assert done.json["version"] == before["version"] + 1
    assert done.json["source"] == "apply"

    back = element("quota", "undo", str(before["version"]))
    assert "everyone: 50 runs at once, was 5 runs at once." in back.out
    history = element("quota", "history", "--limit", "2", "--json").json["items"]
    assert [each["reason"] for each in history] == [
        f"back to version {before['version']}",
        "a smaller machine",
    ]
    assert "everyone: 5 runs at once" in element("quota", "history").out


def test_what_counts_is_shown_and_more_is_asked_for_and_granted(element, quotas):
    shown = element("quota", "show")
    assert "has used" in shown.out
    assert "20 GPU-hours per 7 days" in shown.out
    until = str((datetime.now(UTC) + timedelta(days=9)).date())
    asked = element(
        *("quota", "request", "--budget", "gpu_hours=50", "--per", "7 days"),
        *("--until", until, "--reason", "the paper", "--json"),
    )
    assert asked.code == 0, asked.out
    number = str(asked.json["id"])
    assert "50 GPU-hours per 7 days" in element("quota", "requests", "--state", "open").out

    granted = element("quota", "approve", number)
    assert "person:ada has it" in granted.out
    assert element("quota", "approve", number).code == 0
    late = element("quota", "decline", number)
    assert late.code == 2
    assert "was approved by ada" in late.err
    limits = element("quota", "show", "--json").json["limits"]
    assert ("person:ada", 50) in {(each["subject"], each["limit"]) for each in limits}
    of_ada = element("quota", "show", "--person", "ada")
    assert of_ada.out.startswith("ada: ada (lead)")
    held = element("quota", "show", "--person", "ada", "--json").json["limits"]
    assert "from ada's own limit, 1 other is smaller" in {each["comes_from"] for each in held}

    second = element(
        *("quota", "request", "--largest", "memory_bytes=64 GiB", "--until", until),
        *("--reason", "more", "--json"),
    )
    declined = element("quota", "decline", str(second.json["id"]), "--answer", "no room")
    assert "is declined" in declined.out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("apply", "-f", "nowhere.yaml"), 2, "There is no file"),
        (("undo", "99999"), 2, "There is no version 99999"),
        (("approve", "99999"), 2, "There is no request 99999"),
        (("show", "--person", "nobody"), 2, "There is no 'nobody'"),
        (("request", "--until", "2999-01-01", "--reason", "x"), 2, "one of --at-once"),
    ],
)
def test_what_cannot_be_done_is_said(element, words, code, sentence):
    said = element("quota", *words)

    assert said.code == code
    assert sentence in said.err


def test_what_is_wrong_in_a_file_is_named(element, tmp_path):
    (tmp_path / "wrong.yaml").write_text("quotas: [{who: everyone, at_ones: {runs: 1}}]")
    (tmp_path / "no.yaml").write_text("{")

    wrong, unreadable = (
        element("quota", "apply", "-f", tmp_path / name) for name in ("wrong.yaml", "no.yaml")
    )

    assert (wrong.code, unreadable.code) == (2, 2)
    assert "at_ones" in wrong.err
    assert "Did you mean 'at_once'?" in wrong.err
    assert "not readable as YAML" in unreadable.err


AMOUNTS = st.one_of(st.none(), st.just("unlimited"), st.integers(0, 1_000_000))
MEMORY = st.one_of(AMOUNTS, st.integers(0, 1 << 50))
ENTRIES = st.fixed_dictionaries(
    {
        "largest": st.fixed_dictionaries({"cpu": AMOUNTS, "memory_bytes": MEMORY}),
        "at_once": st.fixed_dictionaries({"memory_bytes": MEMORY, "servers": AMOUNTS}),
        "storage_bytes": MEMORY,
        "reason": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    }
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["everyone", "team:ml", "member:ml/ada"]), ENTRIES))
def test_any_quotas_mean_the_same_when_they_were_written_and_read(tmp_path_factory, said):
    quotas = Quotas.model_validate({"quotas": [{"who": who, **each} for who, each in said.items()]})
    file = tmp_path_factory.mktemp("quotas") / "quotas.yaml"
    file.write_text(written(quotas), encoding="utf-8")

    assert read(file) == quotas
