"""The front end is built with the Python project, and never stands in its way."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from labextension import build as real


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The build of a checkout on a machine where nothing is installed."""
    for name in real.SOURCES:
        source = tmp_path / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("as it was")
    script = tmp_path / "labextension" / "build.py"
    script.write_text(Path(real.__file__).read_text())
    spec = importlib.util.spec_from_file_location("a_build", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return module


def as_if_built(checkout: ModuleType) -> None:
    checkout.BUILT.mkdir(parents=True)
    (checkout.BUILT / "package.json").touch()
    checkout.STAMP.parent.mkdir()
    checkout.STAMP.write_text(checkout._digest())


def test_without_node_an_editable_install_goes_on_and_says_what_is_missing(checkout, capsys):
    checkout.build("wheel", "editable")

    assert checkout.BUILT.is_dir()
    assert not checkout.is_current()
    assert "there is no Node.js here" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_without_node_nothing_to_be_shipped_is_made(checkout, target):
    with pytest.raises(RuntimeError, match=f"The {target} cannot be built: there is no Node"):
        checkout.build(target, "standard")


def test_what_was_built_from_these_sources_is_not_built_again(checkout):
    as_if_built(checkout)

    checkout.build("wheel", "standard")

    assert checkout.is_current()


@pytest.mark.parametrize("name", real.SOURCES)
def test_a_changed_source_is_a_reason_to_build_again(checkout, name):
    as_if_built(checkout)
    (checkout.ROOT / name).write_text("changed")

    with pytest.raises(RuntimeError):
        checkout.build("wheel", "standard")


def test_an_sdist_carries_the_front_end_and_needs_no_node(checkout, capsys):
    (checkout.ROOT / "PKG-INFO").touch()

    checkout.build("wheel", "standard")

    assert capsys.readouterr().err == ""


def test_a_node_that_is_too_old_is_named(checkout, monkeypatch):
    node = checkout.ROOT / "node"
    node.write_text("#!/bin/sh\necho v18.20.4\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(checkout.ROOT))

    with pytest.raises(RuntimeError, match=r"Node\.js v18\.20\.4 is older than 20\.19"):
        checkout.build("wheel", "standard")


def test_all_of_the_front_end_is_at_most_250_kb():
    scripts = list((real.BUILT / "static").glob("*.js"))

    assert scripts
    assert sum(each.stat().st_size for each in scripts) <= 250_000
