"""To whom processes belong, and what is told of GPUs."""

from dataclasses import replace

import pytest

from element_jupyter.core.resources.gpus import Gpu, GpuProcess, memory_of
from element_jupyter.core.resources.processes import Belonging, Process


def process(pid: int, parent: int, session: int = 1, started_ticks: int = 0) -> Process:
    return Process(pid, parent, session, started_ticks or pid, False, 0.0, 0.0, 0, 1)


SERVER = process(10, 1)
ROOTS = {10: "server", 20: "a", 30: "b"}
KERNELS = [SERVER, process(20, 10, 20), process(30, 10, 30)]


def test_a_process_belongs_to_the_nearest_root_above_it():
    tree = [process(1, 0), *KERNELS, process(21, 20, 20), process(22, 21, 20), process(11, 10)]
    stranger = process(99, 1)

    found = Belonging().sort([*tree, stranger], ROOTS)

    assert found == dict.fromkeys([10, 11], "server") | dict.fromkeys([20, 21, 22], "a") | {30: "b"}


def test_what_a_kernel_leaves_behind_in_its_session_is_its_own():
    orphan = process(25, 1, 20)

    assert Belonging().sort([*KERNELS, orphan], ROOTS)[25] == "a"


def test_what_is_in_a_session_that_a_kernel_s_process_has_begun_is_the_kernel_s():
    leader, orphan = process(24, 20, 24), process(25, 1, 24)
    belonging = Belonging()

    assert belonging.sort([*KERNELS, orphan, leader], ROOTS)[25] == "a"
    # the leader ends, and one more is forked and orphaned
    later = process(26, 1, 24)
    found = belonging.sort([*KERNELS, orphan, later], ROOTS)
    assert (found[25], found[26]) == ("a", "a")


def test_a_process_that_detaches_itself_stays_its_kernel_s_with_its_children():
    child = process(24, 20, 20)
    belonging = Belonging()
    belonging.sort([*KERNELS, child], ROOTS)
    detached = replace(child, parent=1, session=24)

    found = belonging.sort([*KERNELS, detached, process(27, 24, 24)], ROOTS)

    assert (found[24], found[27]) == ("a", "a")


def test_a_process_that_has_the_pid_of_one_that_ended_is_another():
    belonging = Belonging()
    belonging.sort([*KERNELS, process(24, 20, 24)], ROOTS)
    belonging.sort(KERNELS, ROOTS)

    assert 24 not in belonging.sort([*KERNELS, process(24, 1, 24, started_ticks=500)], ROOTS)


def test_readings_that_contradict_each_other_do_no_harm():
    loop = [process(50, 51), process(51, 50), process(52, 52)]

    assert Belonging().sort([*KERNELS, *loop], ROOTS) == {10: "server", 20: "a", 30: "b"}


GPU = Gpu(0, "H100", 0.5, 30, 80, {1: GpuProcess(10), 2: GpuProcess(20), 3: GpuProcess(None)})


@pytest.mark.parametrize(
    ("gpus", "pids", "expected"),
    [
        ((), {1}, None),
        ((GPU,), {1}, 10),
        ((GPU, GPU), {1, 2, 9}, 60),
        ((GPU,), {1, 3}, None),
        ((GPU,), {9}, 0),
        ((replace(GPU, processes_known=False),), {9}, None),
        ((replace(GPU, processes_known=False),), {1}, 10),
    ],
)
def test_gpu_memory_is_told_only_as_far_as_the_driver_tells_it(gpus, pids, expected):
    assert memory_of(gpus, pids) == expected
