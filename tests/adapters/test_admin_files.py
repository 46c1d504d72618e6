"""The YAML files that an administrator edits."""

from __future__ import annotations

import pytest

from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.core.errors import Invalid
from element_jupyter.core.sizes import Sizes
from element_jupyter.core.teams import TeamRules


def test_a_change_is_seen_without_a_restart(tmp_path):
    path = tmp_path / "teams.yaml"
    path.write_text("teams: {}")
    file = AdminFile(path, TeamRules)
    assert not file.value.takes("ml")

    path.write_text("teams: {ml: {}}")

    assert file.value.takes("ml")


def test_a_file_that_was_spoilt_leaves_in_force_what_it_said(tmp_path, caplog):
    path = tmp_path / "teams.yaml"
    path.write_text("teams: {ml: {}}")
    file = AdminFile(path, TeamRules)
    assert file.value.takes("ml")

    for spoilt in ("teams: {ml: {leader: {}}}", "teams: ["):
        path.write_text(spoilt)
        assert file.value.takes("ml")
        assert file.value.takes("ml")
    path.unlink()
    assert file.value.takes("ml")

    assert len(caplog.records) == 3
    assert "leader" in caplog.records[0].message


def test_a_file_that_never_was_right_is_refused_with_its_name_and_the_field(tmp_path):
    path = tmp_path / "sizes.yaml"
    path.write_text("default: s\nsizes: [{name: s, cpu: 1, memory: 2 GiB}]")

    with pytest.raises(Invalid, match=r"sizes\.yaml") as refusal:
        AdminFile(path, Sizes).value  # noqa: B018
    assert "memory" in refusal.value.message
