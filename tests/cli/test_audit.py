"""The audit at the terminal: listed, exported, and verified here and elsewhere."""

from __future__ import annotations

import json


def test_the_audit_is_listed_exported_and_verified(element, a_job, tmp_path):
    assert element("jobs", "pause", a_job).code == 0
    listed = element("audit", "list", "--subject", f"ada/{a_job}", "--json").json["items"]
    shown = element("audit", "list", "--subject", f"ada/{a_job}")
    assert [item["action"] for item in listed] == ["job.paused", "job.saved"]
    assert "job.paused" in shown.out

    file = tmp_path / "audit.jsonl"
    exported = element("audit", "export", file, "--json")
    assert exported.code == 0, exported.err
    head = exported.json["head"]
    assert len(file.read_text().splitlines()) == exported.json["entries"]
    assert element("audit", "verify", "--file", file, "--head", head).code == 0
    assert element("jobs", "resume", a_job).code == 0
    still = element("audit", "verify", "--head", head, "--json")
    assert still.json["whole"]
    assert still.json["entries"] > exported.json["entries"]


def test_a_record_that_was_tampered_with_is_found_out(element, a_job, tmp_path):
    file = tmp_path / "audit.jsonl"
    assert element("jobs", "pause", a_job).code == 0
    head = element("audit", "export", file, "--json").json["head"]
    lines = file.read_text().splitlines()

    file.write_text("\n".join(lines[:-1]))
    cut = element("audit", "verify", "--file", file, "--head", head)
    assert cut.code == 1
    assert "cut off" in cut.err

    said = json.loads(lines[0])
    file.write_text("\n".join([json.dumps(said | {"actor": "mallory"}), *lines[1:]]))
    changed = element("audit", "verify", "--file", file)
    assert changed.code == 1
    assert f"entry {said['sequence']}" in changed.err


def test_what_is_no_export_or_no_digest_is_refused(element, tmp_path):
    file = tmp_path / "audit.jsonl"
    file.write_text("not json\n")

    for said in (
        element("audit", "verify", "--file", file),
        element("audit", "verify", "--file", tmp_path / "nothing"),
        element("audit", "verify", "--head", "abc"),
    ):
        assert said.code == 2
        assert said.err.strip()
