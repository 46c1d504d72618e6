"""What is in an environment, how it is told, and what stays of one that was not finished."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode, Phase
from tests.adapters.uv.conftest import Bench


def site(prefix: Path) -> Path:
    return next(prefix.glob("lib/python*/site-packages"))


def test_an_environment_has_what_its_lock_says_and_nothing_else(bench: Bench):
    lock = bench.lock("tables\n")
    prefix = bench.install(lock)
    installed = sorted(each.name for each in site(prefix).glob("*.dist-info"))
    assert installed == [
        "chairs-2.1.dist-info",
        "ipykernel-7.4.0.dist-info",
        "tables-1.0.dist-info",
    ]
    code = "import sys, tables, ipykernel; print(tables.__version__, sys.prefix)"
    said = subprocess.run(
        [prefix / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["1.0", str(prefix)]


def test_it_works_where_it_is_moved_to(bench: Bench):
    bench.index.wheel(
        "tool",
        files={"tool.py": "def main():\n    import sys\n    print(sys.prefix)\n"},
        scripts={"tool": "tool:main"},
    )
    final = bench.directory / "elsewhere"
    bench.install(bench.lock("tool\n")).rename(final)
    said = subprocess.run([final / "bin" / "tool"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(final)


def test_files_are_linked_from_the_cache(bench: Bench):
    lock = bench.lock("tables\n")
    first, second = (site(bench.install(lock)) / "tables.py" for _ in range(2))
    assert first.stat().st_ino == second.stat().st_ino


def test_what_is_cached_is_not_asked_for_again(bench: Bench):
    lock = bench.lock("tables\n")
    bench.install(lock)
    bench.index.requests.clear()
    bench.told.events.clear()
    bench.install(lock)
    assert bench.index.requests == []
    assert not any(phase is Phase.DOWNLOADING for phase, *_ in bench.told.events)
    bench.allow(offline=True)
    bench.index.status = 500
    bench.install(lock)


def test_progress_counts_packages_up_to_all(bench: Bench):
    for number in range(8):
        bench.index.wheel(f"piece-{number}")
    lock = bench.lock("".join(f"piece-{number}\n" for number in range(8)))
    bench.index.delay_seconds = 0.3
    bench.set(UV_CONCURRENT_DOWNLOADS="2")
    bench.told.events.clear()
    bench.install(lock)
    steps = [
        (phase, done, total) for phase, done, total, message in bench.told.events if not message
    ]
    counted = {
        phase: [done for each, done, _ in steps if each is phase and done is not None]
        for phase in (Phase.DOWNLOADING, Phase.INSTALLING)
    }
    for phase, numbers in counted.items():
        assert numbers == sorted(set(numbers)), phase
        assert numbers[-1] == 9, phase
        assert {total for each, _, total in steps if each is phase} == {9}
    assert len(counted[Phase.DOWNLOADING]) >= 4
    phases = list(dict.fromkeys(phase for phase, *_ in bench.told.events))
    assert phases == [Phase.DOWNLOADING, Phase.INSTALLING, Phase.CHECKING]


def test_packages_that_do_not_go_together_are_refused(bench: Bench):
    lock = bench.lock("tables\n").content.decode()
    begin = lock.index('[[packages]]\nname = "chairs"')
    alone = lock[:begin] + lock[lock.index("[[packages]]", begin + 1) :]
    with pytest.raises(EnvironmentFailed) as caught:
        bench.install(alone.encode())
    assert caught.value.failure.code is FailureCode.NO_SOLUTION
    assert "`tables` requires `chairs>=2`" in caught.value.failure.summary


def test_what_a_definition_overrides_is_let_be(bench: Bench):
    bench.write(
        {
            "pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\n'
            'dependencies = ["tables"]\n[tool.uv]\noverride-dependencies = ["chairs==1.0"]\n'
        }
    )
    lock = bench.lock()
    assert bench.versions(lock)["chairs"] == "1.0"
    assert (site(bench.install(lock)) / "chairs.py").exists()


def test_a_lock_without_sha256_is_not_installed(bench: Bench):
    lock = bench.lock("plates\n").content.decode().replace("sha256 =", "md5 =")
    with pytest.raises(EnvironmentFailed) as caught:
        bench.install(lock.encode())
    assert caught.value.failure.code is FailureCode.HASH_MISMATCH


def test_nothing_is_left_beside_an_environment(bench: Bench):
    bench.install(bench.lock("plates\n"))
    names = {each.name for each in bench.directory.iterdir()}
    assert not [each for each in names if each.endswith("-uv")]


def test_uv_ends_with_the_process_that_runs_it(bench: Bench):
    lock = bench.lock("tables\n")
    shutil.rmtree(bench.cache)
    bench.index.delay_seconds = 60
    (bench.directory / "lock").write_bytes(lock.content)
    builder = subprocess.Popen(
        [
            *(sys.executable, "-c", BUILDER, bench.directory, bench.interpreter.model_dump_json()),
            bench.index.url,
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 20
    while not any("sync" in arguments(each) for each in children):
        assert time.monotonic() < deadline
        assert builder.poll() is None
        children = psutil.Process(builder.pid).children(recursive=True)
        time.sleep(0.02)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


BUILDER = """
import sys
from pathlib import Path
from element_jupyter.adapters.uv import Uv
from element_jupyter.core.environments.building import Rules
from element_jupyter.core.environments.identity import Interpreter
directory, interpreter, index = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
Uv().install(
    (directory / "lock").read_bytes(), Interpreter.model_validate_json(interpreter),
    Rules(index_urls=(index,), variables={"HOME": str(directory), "PATH": "/usr/bin:/bin"}),
    lambda *told, **also: None,
    prefix=directory / "killed", final=directory / "final", cache=directory / "cache",
)
"""
