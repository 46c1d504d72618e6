"""A definition becomes an environment, once, whoever asks for it, and however builders end."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode, Phase
from element_jupyter.core.environments.keeping import Pin, State
from element_jupyter.core.errors import NotFound
from tests.platform.environments.deployment import builders, nobody, wait_until

ASK = """
import sys, json
from pathlib import Path
from element_jupyter import config
from element_jupyter.platform.environments.composition import Environments
settings, notebook = json.loads(sys.argv[1]), Path(sys.argv[2])
made = Environments(config.Element(**settings))
print(made.ensure(made.find(notebook), lambda *_, **__: None).manifest.environment_id)
"""


def ask(deployment, notebook: Path) -> subprocess.Popen[str]:
    """Ask for the environment of a notebook in a process of its own."""
    settings = {
        "data_dir": str(deployment.data),
        "environment_store": str(deployment.store),
        "environments_dir": str(deployment.shared),
        "index_urls": [deployment.index.url],
    }
    return subprocess.Popen(
        [sys.executable, "-c", ASK, json.dumps(settings), str(notebook)],
        stdout=subprocess.PIPE,
        text=True,
    )


def wheels_fetched(deployment) -> list[str]:
    return [each for each in deployment.index.requests if each.endswith(".whl")]


def builds(deployment) -> list[Path]:
    return sorted((deployment.store / "builds").iterdir())


def test_a_definition_becomes_an_environment_with_its_packages(deployment):
    found = deployment.found("tables")

    made = deployment.environments().ensure(found, nobody)

    names = {each.name: each.version for each in made.manifest.packages}
    assert names == {"tables": "1.0", "chairs": "2.1", "ipykernel": "7.4.0"}
    said = subprocess.run(
        [made.python, "-I", "-c", "import tables, chairs; print(tables.__version__)"],
        capture_output=True,
        text=True,
    )
    assert said.stdout == "1.0\n"
    assert made.manifest.build_seconds > 0


def test_what_is_built_is_found_again_without_a_process_or_the_index(deployment):
    made = deployment.environments().ensure(deployment.found("tables"), nobody)
    asked = len(deployment.index.requests)
    events = (builds(deployment)[0] / "events.jsonl").read_bytes()

    again = deployment.environments().ensure(deployment.found("tables"), nobody)

    assert again.directory == made.directory
    assert len(deployment.index.requests) == asked
    assert (builds(deployment)[0] / "events.jsonl").read_bytes() == events


def test_looking_an_unchanged_definition_up_takes_less_than_five_milliseconds(deployment):
    notebook = deployment.requires("tables")
    environments = deployment.environments()
    environments.ensure(environments.find(notebook), nobody)
    deployment.at_rest()

    took = []
    for _ in range(50):
        began = time.perf_counter()
        assert environments.ready(environments.find(notebook)) is not None
        took.append(time.perf_counter() - began)

    assert statistics.median(took) < 0.005


def test_comments_and_order_build_nothing(deployment):
    environments = deployment.environments()
    made = environments.ensure(deployment.found("tables", "stools"), nobody)

    found = deployment.found("# what it is for", "stools", "", "tables  # to put things on")

    ready = environments.ready(found)
    assert ready is not None
    assert ready.manifest.environment_id == made.manifest.environment_id
    assert len(builds(deployment)) == 1


def test_other_words_for_the_same_packages_lead_to_the_same_environment(deployment):
    environments = deployment.environments()
    made = environments.ensure(deployment.found("tables"), nobody)

    again = environments.ensure(deployment.found("tables>=1", "chairs"), nobody)

    assert again.directory == made.directory
    assert again.manifest.built_at == made.manifest.built_at


def test_of_three_processes_one_builds(deployment):
    notebook = deployment.requires("tables")

    asking = [ask(deployment, notebook) for _ in range(3)]
    answers = [process.communicate(timeout=60)[0].strip() for process in asking]

    assert len(set(answers)) == 1
    assert answers[0].startswith("py-")
    (build,) = builds(deployment)
    phases = [event.phase for event in deployment.told(build.name)]
    assert phases.count(Phase.READY) == 1
    assert phases.count(Phase.FAILED) == 0
    assert len(wheels_fetched(deployment)) == len(set(wheels_fetched(deployment)))


def test_two_definitions_of_the_same_environment_install_it_once(deployment):
    first = deployment.requires("tables")
    other = deployment.directory / "other"
    (other / ".git").mkdir(parents=True)
    (other / "requirements.txt").write_text("tables>=1\n")

    asking = [ask(deployment, first), ask(deployment, other / "a.ipynb")]
    answers = [process.communicate(timeout=60)[0].strip() for process in asking]

    assert answers[0] == answers[1]
    assert len(builds(deployment)) == 2
    assert [each.name for each in (deployment.store / "envs").iterdir()] == [answers[0]]


@pytest.mark.parametrize("seed", range(12))
def test_a_builder_killed_at_any_moment_leaves_nothing_that_is_used(deployment, seed):
    environments = deployment.environments()
    found = deployment.found("tables", "stools")
    environments.lock(deployment.found("stools"), nobody)  # the index is known, as it usually is
    build_id = environments.start_build(found)

    build = deployment.store / "builds" / build_id
    pid = json.loads((build / "process.json").read_bytes())["pid"]

    time.sleep(random.Random(seed).uniform(0, 1.2))
    psutil.Process(pid).kill() if psutil.pid_exists(pid) else None

    (*_, last) = deployment.told(build_id)
    half = environments.ready(found)
    assert (half is not None) == (last.phase is Phase.READY)
    if half is None:
        assert last.failure.code is FailureCode.INTERNAL
        assert environments.state_of(found).state is State.FAILED
    made = environments.ensure(found, nobody)
    assert environments.verify(made.manifest.environment_id).faults == ()


def test_a_builder_killed_before_it_could_say_that_it_is_done_has_made_the_environment(deployment):
    environments = deployment.environments()
    found = deployment.found("tables")
    made = environments.ensure(found, nobody)
    (build,) = builds(deployment)
    wait_until(lambda: not builders(deployment.directory))
    events = build / "events.jsonl"
    *said, _ = events.read_text().splitlines(keepends=True)
    events.write_text("".join(said))

    (*_, last) = deployment.told(build.name)

    assert last.phase is Phase.READY
    assert last.environment_id == made.manifest.environment_id


def test_a_build_that_is_cancelled_says_so_and_leaves_no_process(deployment):
    environments = deployment.environments()
    deployment.index.delay_seconds = 30
    found = deployment.found("tables")
    build_id = environments.start_build(found)
    wait_until(lambda: deployment.index.requests)
    assert environments.state_of(found).state is State.BUILDING

    environments.cancel(build_id)

    (*_, last) = deployment.told(build_id)
    assert last.failure.code is FailureCode.CANCELLED
    assert environments.state_of(found).failure.code is FailureCode.CANCELLED
    wait_until(lambda: not builders(deployment.directory))
    environments.cancel(build_id)
    deployment.index.healthy()
    assert environments.ensure(found, nobody)


def test_a_builder_that_cannot_answer_is_cancelled_all_the_same(deployment):
    environments = deployment.environments()
    deployment.index.delay_seconds = 30
    build_id = environments.start_build(deployment.found("tables"))
    process = json.loads((deployment.store / "builds" / build_id / "process.json").read_bytes())

    os.kill(process["pid"], signal.SIGSTOP)
    environments.cancel(build_id)
    os.kill(process["pid"], signal.SIGKILL)

    (*_, last) = deployment.told(build_id)
    assert last.failure.code is FailureCode.CANCELLED


def test_a_reader_is_not_kept_waiting_by_a_build(deployment):
    environments = deployment.environments()
    old = deployment.found("tables")
    environments.ensure(old, nobody)
    deployment.index.delay_seconds = 30
    new = deployment.found("tables", "stools")
    build_id = environments.start_build(new)

    began = time.monotonic()
    assert environments.state_of(new).state is State.BUILDING
    assert environments.ready(old) is not None
    assert environments.state_of(old).state is State.READY
    assert time.monotonic() - began < 0.5

    environments.cancel(build_id)


def test_who_comes_later_reads_the_same_build_from_where_it_was(deployment):
    environments = deployment.environments()
    build_id = environments.start_build(deployment.found("tables"))
    everything = deployment.told(build_id)

    rest = deployment.told(build_id, after=everything[1].sequence)

    assert rest == everything[2:]
    assert [event.sequence for event in everything] == list(range(1, len(everything) + 1))
    assert everything[-1].environment_id
    assert everything[-1].lock_id


def test_a_further_build_of_the_same_goes_on_counting(deployment):
    environments = deployment.environments()
    deployment.index.status = 500
    found = deployment.found("tables")
    first = deployment.told(environments.start_build(found))
    deployment.index.healthy()

    second = deployment.told(environments.start_build(found), after=first[-1].sequence)

    assert second[0].sequence == first[-1].sequence + 1
    assert second[-1].phase is Phase.READY


def test_there_is_no_build_of_a_made_up_id(deployment):
    for build_id in ("0" * 64, "../../etc", ""):
        with pytest.raises(NotFound, match="There is no build"):
            list(deployment.environments().events(build_id))


def test_a_pin_gives_the_same_environment_in_another_store(deployment, tmp_path):
    environments = deployment.environments()
    locked, content = environments.lock(deployment.found("tables"), nobody)
    deployment.index.wheel("tables", "1.1")
    deployment.use_cache(tmp_path / "other")
    elsewhere = deployment.environments(environment_store=str(tmp_path / "other"))
    pin = Pin(
        environment_id=locked.environment_id,
        lock_id=locked.lock_id,
        definition="requirements.txt",
        python=environments.state_of(deployment.found("tables")).python,
    )

    made = elsewhere.ensure_locked(pin, content, nobody)

    assert made.manifest.environment_id == locked.environment_id
    assert elsewhere.ensure_locked(pin, content, nobody) == made
    again = environments.ensure(deployment.found("tables"), nobody)
    assert again.manifest.packages == made.manifest.packages
    wait_until(lambda: not builders(tmp_path))


def test_a_pin_is_refused_a_lock_that_is_not_its_own(deployment):
    environments = deployment.environments()
    locked, content = environments.lock(deployment.found("tables"), nobody)
    pin = Pin(
        environment_id=locked.environment_id, lock_id=locked.lock_id, definition="requirements.txt"
    )

    with pytest.raises(EnvironmentFailed, match="is not the one") as refused:
        environments.ensure_locked(pin, content + b"\n", nobody)
    assert refused.value.failure.code is FailureCode.HASH_MISMATCH

    other = pin.model_copy(update={"environment_id": "py-" + "0" * 32, "python": "3.11.0"})
    with pytest.raises(EnvironmentFailed):
        environments.ensure_locked(other, content, nobody)


def test_newer_versions_are_taken_when_they_are_asked_for_only(deployment):
    environments = deployment.environments()
    found = deployment.found("tables")
    old = environments.ensure(found, nobody)
    deployment.index.wheel("tables", "2.0")

    assert environments.ensure(found, nobody).directory == old.directory
    new = environments.ensure(found, nobody, upgrade=True)

    versions = {each.name: each.version for each in new.manifest.packages}
    assert versions["tables"] == "2.0"
    assert old.python.exists()
    assert environments.ready(found).directory == new.directory


def test_an_edit_keeps_the_versions_of_what_was_there(deployment):
    environments = deployment.environments()
    environments.ensure(deployment.found("tables"), nobody)
    deployment.index.wheel("tables", "2.0")

    made = environments.ensure(deployment.found("tables", "stools"), nobody)

    versions = {each.name: each.version for each in made.manifest.packages}
    assert versions["tables"] == "1.0"
    assert versions["stools"] == "3.0"


def test_what_is_stopped_ends_its_own_builds_only(deployment):
    environments = deployment.environments()
    deployment.index.delay_seconds = 30
    build_id = environments.start_build(deployment.found("tables"))
    wait_until(lambda: deployment.index.requests)

    deployment.environments(data_dir=str(deployment.directory / "other")).end_builds()
    assert environments.state_of(deployment.found("tables")).state is State.BUILDING
    environments.end_builds()

    (*_, last) = deployment.told(build_id)
    assert last.failure.code is FailureCode.CANCELLED
    wait_until(lambda: not builders(deployment.directory))
