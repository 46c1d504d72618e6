"""Kernels in the environments of their notebooks, in a real Jupyter server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from jupyter_client.connect import write_connection_file

from element_jupyter import config
from element_jupyter.core.environments.keeping import EnvironmentSummary
from element_jupyter.platform.environments.composition import environments
from element_jupyter.platform.environments.kernel_start import START
from tests.kernelspecs import another_python, ordinary_kernel
from tests.package_index import PackageIndex
from tests.server.kernels import Notebook, connected, executed, new_notebook, until
from tests.server.running import JUPYTER_TOKEN, Lab, running_lab

WHERE = "import sys; print(sys.prefix)"


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as index:
        index.wheel("tables", "1.0")
        index.wheel("tables", "2.0")
        index.wheel("stools", "1.0", requires=["tables<2"])
        yield index


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def lab(
    tmp_path_factory: pytest.TempPathFactory, index: PackageIndex, store: Path
) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab")
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Another",
        "language": "python",
    }
    kernelspec = home / ".local" / "share" / "jupyter" / "kernels" / "another" / "kernel.json"
    kernelspec.parent.mkdir(parents=True)
    kernelspec.write_text(json.dumps(spec))
    variables = {
        "ELEMENT_INDEX_URLS": f"{index.url} https://pypi.org/simple",
        "ELEMENT_ENVIRONMENT_STORE": str(store),
        "JUPYTERHUB_API_TOKEN": "the-token-of-the-hub",
        "UV_INDEX_INTERNAL_PASSWORD": "the-password-of-an-index",
    }
    with running_lab(home, variables=variables) as lab:
        yield lab


@pytest.fixture
def notebooks() -> Iterator[list[Notebook]]:
    """Notebooks that are closed in the end."""
    opened: list[Notebook] = []
    yield opened
    for notebook in opened:
        notebook.close()


@pytest.fixture(scope="module")
def tables(lab: Lab) -> Iterator[Notebook]:
    """A notebook with `tables<2`, whose environment is built, and a kernel in it."""
    notebook = new_notebook(
        lab,
        "ready/sub dir/n.ipynb",
        files={"../requirements.txt": "tables<2\n", "../src/inner.py": "", "../outer.py": ""},
    )
    (notebook.file.parent.parent / ".git").mkdir()
    notebook.open()
    notebook.run("1")
    notebook.restart()
    yield notebook
    notebook.close()


def kept(store: Path) -> dict[str, EnvironmentSummary]:
    made = environments(config.load(environment_store=str(store), data_dir=str(store / "data")))
    return {each.environment_id: each for each in made.summaries()}


# ---------------------------------------------------------------------------------- in one's own


def test_the_kernel_is_in_the_environment_of_its_notebook(tables: Notebook, store: Path):
    shown = tables.run(f"{WHERE}; import tables; print(tables.__version__)").text.split()

    environment_id = tables.environment()["environment_id"]
    assert shown == [str(store / "envs" / environment_id), "1.0"]
    assert tables.environment()["kernel_environment_id"] == environment_id


def test_an_environment_that_a_kernel_uses_is_not_taken_away(tables: Notebook):
    environment_id = tables.environment()["environment_id"]

    refused = tables.ask("DELETE", f"element/api/v1/environments/{environment_id}")

    assert refused.status_code == 409
    assert "ready/sub dir/n.ipynb" in refused.json()["message"]
    assert tables.environment()["state"] == "ready"


def test_a_ready_environment_is_used_without_a_launcher(tables: Notebook, lab: Lab):
    again = new_notebook(lab, "ready/again.ipynb")
    took = again.open()
    kernel = json.loads(tables.ask("GET", f"api/kernels/{again.kernel_id}").text)
    commands = [each.cmdline() for each in psutil.process_iter() if _is(each, again.kernel_id)]
    again.close()

    assert kernel["id"] == again.kernel_id
    assert [command[1] for command in commands] == [str(START)]
    assert took < 1.0


def _is(process: psutil.Process, kernel_id: str) -> bool:
    try:
        return any(kernel_id in word for word in process.cmdline())
    except psutil.Error:
        return False


def test_a_kernel_without_a_notebook_gets_the_environment_of_its_directory(
    tables: Notebook, lab: Lab, store: Path
):
    answer = tables.ask("POST", "api/kernels", json={"name": "python3", "path": "ready/sub dir"})
    console = Notebook(lab, "ready/sub dir", answer.json()["id"])
    shown = console.run("import sys, tables; print(sys.prefix)")
    console.close()

    assert shown.text.strip() == str(store / "envs" / tables.environment()["environment_id"])


def test_the_kernel_sees_no_token_and_no_credentials(tables: Notebook):
    shown = tables.run(
        "import os; print(dict(os.environ), open('/proc/self/cmdline').read(),"
        " open('/proc/self/environ').read())"
    ).text

    for secret in (JUPYTER_TOKEN, "the-token-of-the-hub", "the-password-of-an-index"):
        assert secret not in shown
    assert "ELEMENT_DATA_DIR" not in shown


def test_modules_of_the_project_are_found_behind_the_standard_library(tables: Notebook):
    top = tables.file.parent.parent
    shown = tables.run(
        "import inner, outer, os, sys, random\n"
        "print(os.environ['PYTHONPATH'], os.environ['ELEMENT_PROJECT'], random.__file__)"
    )

    assert shown.error == ""
    path, project, random = shown.text.split()
    assert path == f"{top}:{top / 'src'}"
    assert project == str(top)
    assert "lib/python3" in random


def test_a_project_with_a_module_named_like_one_of_pythons_gets_a_kernel(
    lab: Lab, notebooks: list[Notebook], tables: Notebook
):
    names = ("random", "queue", "types", "tornado", "sitecustomize")
    notebook = new_notebook(
        lab,
        "shadows/n.ipynb",
        files={
            "requirements.txt": "tables<2",
            **{f"{name}.py": "raise SystemExit('mine')" for name in names},
        },
    )
    notebooks.append(notebook)
    notebook.open()

    assert notebook.run("print('it runs')").text == "it runs\n"


def test_a_value_can_be_recorded_without_element_in_the_environment(tables: Notebook):
    shown = tables.run("from element_jupyter import record; record(auc=0.9)")

    assert shown.error == ""
    assert shown.displays[0]["application/vnd.element.record+json"] == {"auc": 0.9}
    assert "ModuleNotFoundError" in tables.run("import element_jupyter.core").error


def test_what_the_kernel_was_told_is_not_left_on_its_standard_input(tables: Notebook):
    assert tables.run("import os; print(os.read(0, 10))").text == "b''\n"


def test_the_environment_is_held_while_the_kernel_lives(
    lab: Lab, store: Path, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(lab, "ready/held.ipynb")
    notebooks.append(notebook)
    notebook.open()
    notebook.run("1")
    environment_id = notebook.environment()["environment_id"]

    def holders() -> set[str]:
        return {each.id for each in kept(store)[environment_id].holders}

    assert notebook.kernel_id in holders()
    notebook.close()
    until(lambda: notebook.kernel_id not in holders())


def test_a_kernel_that_is_killed_holds_its_environment_no_longer(
    lab: Lab, store: Path, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(lab, "ready/killed.ipynb")
    notebooks.append(notebook)
    notebook.open()
    pid = int(notebook.run("import os; print(os.getpid())").text)
    environment_id = notebook.environment()["environment_id"]

    os.kill(pid, signal.SIGKILL)

    until(lambda: pid not in {each.pid for each in kept(store)[environment_id].holders})


def test_a_kernel_on_another_python_by_its_whole_path_is_left_as_it_is(
    tmp_path: Path, index: PackageIndex, store: Path, tables: Notebook
):
    another = another_python(tmp_path / "another/bin")
    specs = ordinary_kernel(tmp_path / "specs", str(another), "-m", "ipykernel_launcher")
    with running_lab(tmp_path / "lab", variables=_variables(index, store, specs)) as lab:
        notebook = new_notebook(lab, "n.ipynb", files={"requirements.txt": "tables<2\n"})
        notebook.open()
        shown = notebook.run("import os; print(os.environ['ANOTHER_PYTHON'])")
        environment = notebook.environment()
        notebook.close()

    assert shown.text == "yes\n"
    assert environment["kernel_environment_id"] is None


def test_jupyters_own_python_gets_the_environment_by_whichever_of_its_names(
    tmp_path: Path, index: PackageIndex, store: Path, tables: Notebook
):
    name = f"python3.{sys.version_info[1]}"
    program = Path(sys.executable).with_name(name)
    specs = ordinary_kernel(tmp_path / "specs", str(program), "-Xutf8", "-m", "ipykernel")
    with running_lab(tmp_path / "lab", variables=_variables(index, store, specs)) as lab:
        notebook = new_notebook(lab, "n.ipynb", files={"requirements.txt": "tables<2\n"})
        notebook.open()
        shown = notebook.run("import tables; print(tables.__version__)")
        notebook.close()

    assert shown.text == "1.0\n"


def _variables(index: PackageIndex, store: Path, specs: Path) -> dict[str, str]:
    return {
        "ELEMENT_INDEX_URLS": f"{index.url} https://pypi.org/simple",
        "ELEMENT_ENVIRONMENT_STORE": str(store),
        "JUPYTER_PATH": str(specs),
    }


# ------------------------------------------------------------------------------- while it is built


def test_a_kernel_waits_for_its_environment_and_the_request_does_not(
    lab: Lab, index: PackageIndex, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(lab, "missing/n.ipynb", files={"requirements.txt": "tables>=2\n"})
    notebooks.append(notebook)
    index.delay_seconds = 0.5
    try:
        took = notebook.open()
        state = notebook.environment()["state"]
        waits = notebook.environment()["kernel_environment_id"]
    finally:
        index.delay_seconds = 0.0

    assert took < 1.0
    assert state == "building"
    assert waits is None
    assert notebook.run("import tables; print(tables.__version__)").text == "2.0\n"
    parents = notebook.run("import os; print(os.environ['JPY_PARENT_PID'], os.getppid())").text
    assert len(set(parents.split())) == 1  # so that it ends with the server
    environment = notebook.environment()
    assert environment["state"] == "ready"
    assert environment["kernel_environment_id"] == environment["environment_id"]


def test_an_interrupted_wait_goes_on_and_a_second_one_ends_it_in_words(
    lab: Lab, index: PackageIndex, notebooks: list[Notebook], tables: Notebook
):
    log = lab.root.parent / "server.log"
    notebook = new_notebook(
        lab, "waiting/n.ipynb", files={"requirements.txt": "tables>=2\nstools==9\n"}
    )
    notebooks.append(notebook)
    index.delay_seconds = 2.0
    try:
        notebook.open()
        notebook.interrupt()
        until(lambda: "waits for the environment of requirements.txt" in log.read_text())
        assert "kernel_launcher" in " ".join(_command(notebook.kernel_id))
        notebook.interrupt()
        shown = notebook.run("1")
    finally:
        index.delay_seconds = 0.0

    assert "Restart the kernel to wait for it again" in shown.error


def test_a_kernel_that_waits_is_shut_down_and_restarted_at_once(
    lab: Lab, index: PackageIndex, tables: Notebook
):
    notebook = new_notebook(lab, "closed/n.ipynb", files={"requirements.txt": "tables!=1.6\n"})
    index.delay_seconds = 2.0
    try:
        notebook.open()
        began = time.perf_counter()
        notebook.restart()
        restarted = time.perf_counter() - began
        waits = "kernel_launcher" in " ".join(_command(notebook.kernel_id))
        began = time.perf_counter()
        notebook.close()
        closed = time.perf_counter() - began
    finally:
        index.delay_seconds = 0.0

    assert waits
    assert _process(notebook.kernel_id) is None
    assert restarted < 4.0  # Jupyter gives a kernel 5 seconds to end by itself
    assert closed < 4.0


def _process(kernel_id: str) -> psutil.Process | None:
    return next((each for each in psutil.process_iter() if _is(each, kernel_id)), None)


def _command(kernel_id: str) -> list[str]:
    process = _process(kernel_id)
    return process.cmdline() if process else []


def test_a_kernel_that_has_waited_can_be_interrupted(
    lab: Lab, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(lab, "slow/n.ipynb", files={"requirements.txt": "tables != 1.5\n"})
    notebooks.append(notebook)
    notebook.open()
    notebook.run("1")
    marker = notebook.file.parent / "started"

    def interrupt() -> None:
        until(marker.exists)
        notebook.interrupt()

    with ThreadPoolExecutor() as pool:
        interrupted = pool.submit(interrupt)
        shown = notebook.run("import time; open('started', 'w'); time.sleep(60)")
        interrupted.result()

    assert "KeyboardInterrupt" in shown.error


def test_editing_the_definition_and_restarting_is_all_it_takes(
    lab: Lab, store: Path, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(lab, "edited/n.ipynb", files={"requirements.txt": "tables==1.0\n"})
    notebooks.append(notebook)
    notebook.open()
    before = notebook.run(WHERE).text.strip()

    (notebook.file.parent / "requirements.txt").write_text("tables==2.0\n")
    edited = notebook.environment()
    assert edited["environment_id"] != edited["kernel_environment_id"]
    assert notebook.run("import tables; print(tables.__version__)").text == "1.0\n"
    notebook.restart()

    assert notebook.run("import tables; print(tables.__version__)").text == "2.0\n"
    assert notebook.run(WHERE).text.strip() != before
    assert (Path(before) / "bin" / "python").exists()


# ---------------------------------------------------------------------------- when it cannot be


def test_a_kernel_without_an_environment_says_why_and_gets_it_once_that_is_mended(
    lab: Lab, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(
        lab, "conflict/n.ipynb", files={"requirements.txt": "tables>=2\nstools\n"}
    )
    notebooks.append(notebook)
    notebook.open()

    shown = notebook.run("print('never')")
    assert "stools" in shown.error
    assert "tables" in shown.error
    assert "restart the kernel" in shown.error
    assert "never" not in shown.text
    assert notebook.run("!echo it can be mended").text.strip() == "it can be mended"
    assert JUPYTER_TOKEN not in notebook.run("!env").text
    assert "stools" in notebook.run("!pip install tables").error
    assert notebook.environment()["state"] == "failed"

    (notebook.file.parent / "requirements.txt").write_text("stools\n")
    notebook.restart()
    assert notebook.run("import tables; print(tables.__version__)").text == "1.0\n"


def test_a_definition_that_cannot_be_read_is_told_with_its_line(
    lab: Lab, notebooks: list[Notebook]
):
    notebook = new_notebook(lab, "unreadable/n.ipynb", files={"requirements.txt": "tables\n???\n"})
    notebooks.append(notebook)
    took = notebook.open()

    assert took < 1.0
    error = notebook.run("1").error
    assert "requirements.txt" in error
    assert "2" in error


def test_a_kernel_does_not_start_in_an_environment_that_is_not_its_own(tables: Notebook):
    python = tables.run("import sys; print(sys.executable)").text.strip()
    other = "py-00000000000000000000000000000000"

    done = subprocess.run(
        [python, START, "--environment", other, "-f", "none.json"], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"The kernel was to be in the environment {other}, and")


@pytest.mark.parametrize("policy", ["auto", "required"])
def test_messages_are_encrypted_if_the_kernel_of_the_environment_can(
    tmp_path: Path, index: PackageIndex, store: Path, tables: Notebook, policy: str
):
    variables = {
        "ELEMENT_INDEX_URLS": f"{index.url} https://pypi.org/simple",
        "ELEMENT_ENVIRONMENT_STORE": str(store),
    }
    option = f"--MappingKernelManager.transport_encryption={policy}"
    with running_lab(tmp_path, option, variables=variables) as lab:
        modern = new_notebook(lab, "modern/n.ipynb", files={"requirements.txt": "tables<2\n"})
        old = new_notebook(lab, "old/n.ipynb", files={"requirements.txt": "ipykernel<7\n"})
        for notebook in (modern, old):
            notebook.open()
        shown = [notebook.run("print('it answers')") for notebook in (modern, old)]
        old.restart()
        again = old.run("print('it answers')")
        encrypted = ["curve" in _connection(lab, each.kernel_id) for each in (modern, old)]
        for notebook in (modern, old):
            notebook.close()

    assert shown[0].text == "it answers\n"
    if policy == "auto":
        assert shown[1].text == again.text == "it answers\n"
        assert encrypted == [True, False]
    else:
        assert "cannot encrypt its messages" in shown[1].error
        assert "cannot encrypt its messages" in again.error
        assert encrypted == [True, True]


def _connection(lab: Lab, kernel_id: str) -> str:
    return (lab.root.parent / "runtime" / f"kernel-{kernel_id}.json").read_text()


# ------------------------------------------------------------------------------------ as they were


def test_another_kernelspec_is_started_as_it_says(
    lab: Lab, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(lab, "ready/another.ipynb")
    notebooks.append(notebook)
    notebook.open("another")

    assert notebook.run(WHERE).text.strip() == sys.prefix
    assert notebook.environment()["kernel_environment_id"] is None


def test_kernels_are_as_they_were_where_environments_are_switched_off(tmp_path: Path):
    with running_lab(tmp_path, variables={"ELEMENT_ENVIRONMENTS": "false"}) as lab:
        notebook = new_notebook(lab, "n.ipynb", files={"requirements.txt": "tables<2\n"})
        notebook.open()
        shown = notebook.run(f"{WHERE}; import os; print('ELEMENT_DATA_DIR' in os.environ)")
        answer = notebook.ask("GET", "element/api/v1/environments/of", params={"path": "n.ipynb"})
        notebook.close()

    assert shown.text.split() == [sys.prefix, "True"]
    assert answer.status_code == 404
    assert answer.json()["message"] == "Environments are switched off here."


# -------------------------------------------------------------------------------------- %pip


def test_pip_install_adds_to_the_definition_builds_and_asks_for_a_restart(
    lab: Lab, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(lab, "adding/n.ipynb", files={"requirements.txt": "# mine\ntables<2\n"})
    notebooks.append(notebook)
    notebook.open()

    shown = notebook.run("%pip install stools", answer="y")

    assert shown.text.startswith("Add stools to requirements.txt? [Y/n]")
    assert shown.error == ""
    restart = shown.displays[-1]["application/vnd.element.restart+json"]
    assert restart == {"message": "Restart the kernel to use stools."}
    written = (notebook.file.parent / "requirements.txt").read_text()
    assert written.splitlines() == ["# mine", "tables<2", "stools"]
    notebook.restart()
    assert notebook.run("import stools; print(stools.__version__)").text == "1.0\n"


def test_pip_install_takes_back_what_cannot_be_built(
    lab: Lab, notebooks: list[Notebook], tables: Notebook
):
    notebook = new_notebook(
        lab, "taken back/n.ipynb", files={"requirements.txt": "# mine\ntables<2\n"}
    )
    notebooks.append(notebook)
    notebook.open()

    shown = notebook.run("%pip install -y nowhere-to-be-found")

    assert "No index that is asked has a package nowhere-to-be-found" in shown.text
    assert "requirements.txt is as it was." in shown.error
    assert (notebook.file.parent / "requirements.txt").read_text() == "# mine\ntables<2\n"
    left = {each.name for each in notebook.file.parent.iterdir()}
    assert left == {"n.ipynb", "requirements.txt"}


def test_pip_install_says_what_to_write_into_a_notebook_that_names_its_packages_itself(
    lab: Lab, notebooks: list[Notebook], tables: Notebook
):
    block = '# /// script\n# dependencies = ["tables<2"]\n# ///'
    notebook = new_notebook(lab, "inline/n.ipynb", source=block)
    notebooks.append(notebook)
    notebook.open()
    before = notebook.file.read_bytes()

    assert notebook.run("import tables; print(tables.__version__)").text == "1.0\n"
    shown = notebook.run("%pip install stools", answer="y")

    assert shown.error.endswith('#     "stools",')
    assert notebook.file.read_bytes() == before


def test_pip_install_changes_nothing_when_it_is_declined(tables: Notebook):
    shown = tables.run("%pip install stools", answer="n")

    assert shown.text.endswith("Nothing was changed.\n")
    assert (tables.file.parent.parent / "requirements.txt").read_text() == "tables<2\n"


def test_pip_install_says_how_where_nobody_can_be_asked(tables: Notebook):
    assert (
        "%pip install -y stools does it without asking" in tables.run("%pip install stools").error
    )


@pytest.mark.parametrize(
    "line", ["%pip install tables", "%uv pip install 'tables<2'", "%conda install tables=1.0"]
)
def test_installing_what_is_there_says_so(tables: Notebook, line: str):
    shown = tables.run(line)

    assert shown.error == ""
    assert shown.text == "tables 1.0 is in this environment already.\n"


@pytest.mark.parametrize(
    "line",
    [
        "!pip install stools",
        "!python -m pip install -q stools",
        "!{sys.executable} -m pip install stools",
        "found = !pip install stools",
        "!cd /tmp && uv pip install stools",
        "%%bash\nset -e\npip install stools",
        "%system pip install stools",
        "!conda install -y -c conda-forge stools",
    ],
)
def test_installing_by_the_shell_is_not_done_but_explained(tables: Notebook, line: str):
    shown = tables.run(line)

    assert shown.error == ""
    assert shown.text.startswith("Not run: !")
    assert "%pip install stools adds to requirements.txt" in shown.text


@pytest.mark.parametrize(
    "line", ["%pip install -r requirements.txt", "!pip install -r requirements.txt"]
)
def test_installing_the_definition_itself_says_that_it_is_there(tables: Notebook, line: str):
    shown = tables.run(line)

    assert shown.error == ""
    assert shown.text.startswith("This environment is made of requirements.txt already")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("%pip install -e .", "Modules of your project can be imported as they are."),
        ("%pip install ./stools", "./stools is a file here"),
        ("%pip install --index-url https://other stools", "--index-url https://other cannot be"),
        ("%pip install", "Say which package"),
        ("%pip wheel stools", "%pip wheel does nothing here"),
    ],
)
def test_what_cannot_be_installed_is_refused_in_words(tables: Notebook, line: str, sentence: str):
    shown = tables.run(line)

    assert sentence in shown.error + shown.text
    assert "Traceback" not in shown.error


def test_other_commands_of_the_shell_run_with_the_cells_own_variables(tables: Notebook):
    shown = tables.run("def f(word):\n    !echo pip install {word}\nf('chairs')")

    assert shown.text.strip() == "pip install chairs"


def test_pip_tells_what_is_in_the_environment(tables: Notebook):
    listed = tables.run("%pip list").text
    assert "tables " in listed
    assert "ipykernel " in listed
    assert "tables==1.0\n" in tables.run("%pip freeze").text
    assert "Version: 1.0\n" in tables.run("%pip show tables").text
    assert "Remove tables from requirements.txt" in tables.run("%pip uninstall tables").error


def test_a_run_cannot_install(tables: Notebook, tmp_path: Path):
    python = tables.run("import sys; print(sys.executable)").text.strip()
    environment_id = tables.environment()["environment_id"]
    file, _ = write_connection_file(str(tmp_path / "kernel.json"))
    command = [python, START, "--environment", environment_id, "--batch", "-f", file]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=tmp_path) as kernel:
        try:
            with connected(Path(file)) as client:
                fails = executed(client, "%pip install stools")
                passes = executed(client, "%pip install tables")
        finally:
            kernel.kill()

    assert fails.error.startswith("A run cannot install stools: its environment is the one that")
    assert "Traceback" not in fails.error
    assert passes.error == ""
