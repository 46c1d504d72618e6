"""What the Hub goes by while the control plane is away: the copy of the quotas that count."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from element_jupyter import config
from element_jupyter.core.quotas.policies import Origin, QuotasVersion
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.platform.data import Data
from element_jupyter.platform.doctor import examine
from element_jupyter.platform.published_quotas import PublishedQuotas

FILE = Quotas.model_validate({"quotas": [{"who": "everyone", "at_once": {"gpu": 1}}]})
CHANGED = Quotas.model_validate({"quotas": [{"who": "team:ml", "at_once": {"gpu": 4}}]})
VERSION = QuotasVersion(
    number=2, document=CHANGED, by="root", at=datetime.now(UTC), origin=Origin.PAGE
)


@pytest.fixture
def settings(tmp_path) -> config.Element:
    (tmp_path / "quotas.yaml").write_text("quotas: [{who: everyone, at_once: {gpu: 1}}]")
    (tmp_path / "control-plane").mkdir()
    return config.load(data_dir=str(tmp_path))


def test_the_file_counts_until_something_is_published_and_after_it_is_taken_back(settings):
    plane = PublishedQuotas(settings, Data(settings.data))
    hub = PublishedQuotas(settings, Data(settings.data))

    assert (hub.in_force(), hub.file_differs()) == (FILE, None)
    plane.write(VERSION)
    assert (hub.in_force(), hub.file_differs()) == (CHANGED, True)
    (settings.data / "quotas.yaml").write_text("quotas: [{who: 'team:ml', at_once: {gpu: 4}}]")
    assert hub.file_differs() is False
    plane.write(None)
    assert hub.in_force() == CHANGED  # which the file says now


def test_the_doctor_says_that_the_file_differs_and_what_to_do(settings):
    def found() -> list[str]:
        about = [each for each in examine(settings) if each.check == "quotas"]
        return [f"{each.verdict}: {each.message} {each.hint}" for each in about]

    assert found() == []
    PublishedQuotas(settings, Data(settings.data)).write(VERSION)
    [said] = found()
    assert said.startswith("warn: ")
    assert "element quota apply -f" in said
    assert "element quota export >" in said
    (settings.data / "quotas.yaml").write_text("quotas: [{who: 'team:ml', at_once: {gpu: 4}}]")
    assert found()[0].startswith("ok: ")


def link(path, tmp_path):
    PublishedQuotas(config.load(data_dir=str(tmp_path)), Data(tmp_path)).write(VERSION)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")


def pipe(path, _):
    os.mkfifo(path)


def wrong(path, _):
    path.write_text('{"version": 2, "quotas": {"quotas": [{"who": "secret"}]}}')


def directory(path, _):
    path.mkdir()


@pytest.mark.parametrize("plant", [link, pipe, wrong, directory])
def test_what_the_control_plane_would_not_write_does_not_count(settings, plant, caplog):
    plant(settings.data / "control-plane/quotas.json", settings.data)

    assert PublishedQuotas(settings, Data(settings.data)).in_force() == FILE
    assert "does not count" in caplog.text
    assert "secret" not in caplog.text
