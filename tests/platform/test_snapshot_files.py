"""A snapshot is searched like the directory that it is restored to."""

from __future__ import annotations

from pathlib import Path

import pytest

from element_jupyter.adapters.blobs import FsspecBlobs, restore, save
from element_jupyter.adapters.definitions import DiskFiles
from element_jupyter.adapters.project import scan
from element_jupyter.core.environments.definitions import LARGEST_DEFINITION_BYTES
from element_jupyter.core.errors import ElementError, Invalid
from element_jupyter.platform.environments.snapshot_files import SnapshotFiles


@pytest.fixture
def project(tmp_path) -> Path:
    root = tmp_path / "project"
    (root / "envs/gpu").mkdir(parents=True)
    (root / "envs/gpu/requirements.txt").write_text("torch")
    (root / "requirements.txt").write_text("-r envs/gpu/requirements.txt")
    (root / "binder").symlink_to("envs/gpu")
    (root / "envs/pylock.toml").symlink_to("../requirements.txt")
    (root / "nowhere").symlink_to("missing.txt")
    return root


@pytest.fixture
def files(project, tmp_path) -> tuple[SnapshotFiles, FsspecBlobs]:
    blobs = FsspecBlobs(tmp_path / "blobs")
    scanned = scan(project)
    save(blobs, scanned)
    return SnapshotFiles(scanned.manifest, blobs), blobs


def test_both_have_the_same_files_and_names_links_too(files, project, tmp_path):
    snapshot, blobs = files
    restored = tmp_path / "restored"
    restore(blobs, scan(project).manifest.snapshot_id, restored)
    disk = DiskFiles(restored)
    for directory in ("", "envs", "envs/gpu", "binder", "none", "requirements.txt"):
        assert snapshot.names(directory) == disk.names(directory), directory
    for path in (
        *("requirements.txt", "envs/gpu/requirements.txt", "binder/requirements.txt"),
        *("envs/pylock.toml", "nowhere", "envs", "none/requirements.txt"),
    ):
        assert snapshot.read(path) == disk.read(path), path
    assert snapshot.read("binder/requirements.txt") == b"torch"


def test_a_file_that_is_too_large_or_damaged_is_refused(files, project, tmp_path):
    _, blobs = files
    (project / "pylock.toml").write_bytes(b"#" * (LARGEST_DEFINITION_BYTES + 1))
    (project / "small.txt").write_bytes(b"whole")
    scanned = scan(project)
    save(blobs, scanned)
    larger = SnapshotFiles(scanned.manifest, blobs)
    with pytest.raises(Invalid, match=r"pylock\.toml"):
        larger.read("pylock.toml")
    digest = next(each.digest for each in scanned.manifest.entries if each.path == "small.txt")
    (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"other")
    with pytest.raises(ElementError, match="damaged"):
        larger.read("small.txt")
