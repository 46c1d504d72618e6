"""Which file counts, in every fight there is: one row each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.definitions.definition_cases import Case, check

PROJECT = '[project]\nname = "p"\nversion = "0"\ndependencies = ["pandas"]\n'
RUFF = "[tool.ruff]\nline-length = 100\n"
CONDA = "dependencies:\n  - python=3.12\n  - pandas\n"
PIXI = '[workspace]\nchannels = ["conda-forge"]\n[dependencies]\npandas = "2.*"\n'
TOOL_PIXI = (
    '[tool.pixi.workspace]\nchannels = ["conda-forge"]\n[tool.pixi.dependencies]\nscipy = "*"\n'
)
LOCK = 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "numpy"\nversion = "2.0"\n'
BLOCK = '# /// script\n# dependencies = ["humanize"]\n# ///\nimport humanize\n'
POINTS = '[tool.element]\nenvironment = "envs/gpu"\n'

CASES = {
    "nothing at all": Case(files={}, wins="-", ignored={}, notices=[]),
    "a file beside the notebook": Case(files={"requirements.txt": "numpy"}, wins="requirements.txt", kind="requirements", why="beside the notebook", ignored={}),
    "a file further up": Case(files={"requirements.txt": "numpy"}, notebook="a/b/n.ipynb", wins="requirements.txt", why="the project's top"),
    "a file half way up": Case(files={"a/requirements.txt": "numpy"}, notebook="a/b/n.ipynb", wins="a/requirements.txt", why="in a."),
    "the closest wins over a higher rank": Case(files={"a/requirements.txt": "numpy", "pyproject.toml": PROJECT}, notebook="a/n.ipynb", wins="a/requirements.txt", ignored={"pyproject.toml": "a/requirements.txt is closer"}),
    "a project's pyproject counts for deeper notebooks": Case(files={"pyproject.toml": PROJECT}, notebook="notebooks/deep/n.ipynb", wins="pyproject.toml"),
    "another directory's file does not count": Case(files={"b/requirements.txt": "numpy"}, notebook="a/n.ipynb", wins="-", ignored={}),
    "pixi first": Case(files={"pixi.toml": PIXI, "pixi.lock": "version: 6\n", "pyproject.toml": PROJECT}, wins="pixi.toml", kind="pixi", lock="pixi.lock", names=["pandas"], ignored={"pyproject.toml": "pixi.toml goes first"}),
    "pixi without its lock is passed over": Case(files={"pixi.toml": PIXI, "requirements.txt": "numpy"}, wins="requirements.txt", ignored={"pixi.toml": "no pixi.lock"}),
    "pixi without its lock alone": Case(files={"pixi.toml": PIXI}, wins="-", ignored={"pixi.toml": "`pixi lock`"}),
    "[tool.pixi] first in a pyproject": Case(files={"pyproject.toml": PROJECT + TOOL_PIXI, "pixi.lock": "version: 6\n"}, wins="pyproject.toml", kind="pixi", names=["scipy"]),
    "[tool.pixi] without its lock falls to [project]": Case(files={"pyproject.toml": PROJECT + TOOL_PIXI}, wins="pyproject.toml", kind="pyproject", names=["pandas"], ignored={"pyproject.toml [tool.pixi]": "no pixi.lock"}),
    "only [tool.pixi] and no lock": Case(files={"pyproject.toml": TOOL_PIXI}, wins="-", ignored={"pyproject.toml": "no pixi.lock"}),
    "pyproject over environment.yml": Case(files={"pyproject.toml": PROJECT, "environment.yml": CONDA}, wins="pyproject.toml", ignored={"environment.yml": "pyproject.toml goes first"}),
    "a pyproject of ruff only is passed over": Case(files={"pyproject.toml": RUFF, "requirements.txt": "numpy"}, wins="requirements.txt", ignored={"pyproject.toml": "no [project] dependencies"}),
    "a pyproject of Poetry is passed over": Case(files={"pyproject.toml": '[tool.poetry.dependencies]\npandas = "^2"\n'}, wins="-", ignored={"pyproject.toml": "Poetry"}),
    "environment.yml over requirements.txt": Case(files={"environment.yml": CONDA, "requirements.txt": "numpy"}, wins="environment.yml", kind="conda", ignored={"requirements.txt": "environment.yml goes first"}),
    "environment.yml over environment.yaml": Case(files={"environment.yml": CONDA, "environment.yaml": CONDA}, wins="environment.yml", ignored={"environment.yaml": "goes first"}),
    "environment.yaml counts too": Case(files={"environment.yaml": CONDA}, wins="environment.yaml", kind="conda"),
    "requirements.txt over requirements.in": Case(files={"requirements.txt": "numpy==2.0", "requirements.in": "numpy"}, wins="requirements.txt", ignored={"requirements.in": "requirements.txt goes first"}),
    "requirements.in counts too": Case(files={"requirements.in": "numpy"}, wins="requirements.in"),
    "a lone pylock.toml": Case(files={"pylock.toml": LOCK}, wins="pylock.toml", kind="pylock", lock="pylock.toml", specs=["numpy==2.0"]),
    "a foreign pylock.toml beside requirements": Case(files={"pylock.toml": LOCK, "requirements.txt": "numpy"}, wins="requirements.txt", lock="-", ignored={"pylock.toml": "does not say that it was made from requirements.txt"}),
    "a uv.lock without its project": Case(files={"uv.lock": "version = 1\n", "requirements.txt": "numpy"}, wins="requirements.txt", lock="-", ignored={"uv.lock": "no lock of requirements.txt"}),
    "a uv.lock alone": Case(files={"uv.lock": "version = 1\n"}, wins="-", ignored={"uv.lock": "no definition is beside it"}),
    "a directory named requirements.txt": Case(files={"requirements.txt/a": "", "requirements.in": "numpy"}, wins="requirements.in", ignored={"requirements.txt": "no file"}),
    "binder/": Case(files={"binder/environment.yml": CONDA, "binder/postBuild": ""}, wins="binder/environment.yml", why="binder/", ignored={"binder/postBuild": "not executed"}, notices=["binder/postBuild is not executed"]),
    ".binder/": Case(files={".binder/requirements.txt": "numpy"}, notebook="a/n.ipynb", wins=".binder/requirements.txt"),
    "binder/ after the top": Case(files={"binder/requirements.txt": "scipy", "requirements.txt": "numpy"}, wins="requirements.txt"),
    "binder/ of another directory than the top": Case(files={"a/binder/requirements.txt": "scipy"}, notebook="a/n.ipynb", wins="-"),
    "both binder directories": Case(files={"binder/requirements.txt": "scipy", ".binder/requirements.txt": "scipy"}, fails="parse_error", at="binder", hint="Keep one"),
    "both binder directories, when neither is needed": Case(files={"binder/apt.txt": "", ".binder/apt.txt": "", "requirements.txt": "numpy"}, wins="requirements.txt"),
    "inline over all files": Case(files={"pyproject.toml": PROJECT}, cell=BLOCK, wins="n.ipynb", kind="inline", names=["humanize"], ignored={"pyproject.toml": "definition in the notebook goes first"}),
    "the notebook points at a directory": Case(files={"envs/gpu/requirements.txt": "torch", "requirements.txt": "numpy"}, says={"path": "envs/gpu"}, wins="envs/gpu/requirements.txt", why="The notebook points at", ignored={"requirements.txt": "points at envs/gpu/requirements.txt"}),
    "the notebook points upwards": Case(files={"envs/gpu.yml": CONDA, "a/requirements.txt": "numpy"}, notebook="a/n.ipynb", says={"path": "../envs/gpu.yml"}, wins="envs/gpu.yml", kind="conda"),
    "the notebook's pointer over inline": Case(files={"r/requirements.txt": "numpy"}, cell=BLOCK, says="r", wins="r/requirements.txt"),
    "the caller's pointer over the notebook's": Case(files={"a.txt": "numpy", "b.txt": "scipy"}, says={"path": "a.txt"}, pointer="b.txt", wins="b.txt", why="request names"),
    "a pyproject points": Case(files={"pyproject.toml": POINTS, "envs/gpu/requirements.txt": "torch", "requirements.txt": "numpy"}, wins="envs/gpu/requirements.txt", why="pyproject.toml points at"),
    "a pyproject further up points": Case(files={"pyproject.toml": POINTS, "envs/gpu/requirements.txt": "torch", "a/requirements.txt": "numpy"}, notebook="a/n.ipynb", wins="envs/gpu/requirements.txt"),
    "a pyproject points past its own dependencies": Case(files={"pyproject.toml": PROJECT + '[tool.element]\nenvironment = "requirements.txt"\n', "requirements.txt": "numpy"}, wins="requirements.txt", ignored={"pyproject.toml": "points at requirements.txt"}),
    "the notebook's pointer over a pyproject's": Case(files={"pyproject.toml": POINTS, "envs/gpu/requirements.txt": "torch", "a.txt": "numpy"}, says={"path": "a.txt"}, wins="a.txt"),
    "a broken pyproject further up, that nobody needs": Case(files={"pyproject.toml": "= broken", "a/requirements.txt": "numpy"}, notebook="a/n.ipynb", wins="a/requirements.txt"),
    "pointing at nothing": Case(files={}, says={"path": "envs/gpu"}, fails="invalid", says_why="envs/gpu"),
    "pointing out of the project": Case(files={}, says={"path": "../../etc"}, fails="invalid", says_why="outside of the project"),
    "pointing at an absolute path": Case(files={}, pointer="/etc/requirements.txt", fails="invalid", says_why="outside of the project"),
    "pointing at an empty directory": Case(files={"envs/README": ""}, says={"path": "envs"}, fails="parse_error", hint="Put a requirements.txt there"),
    "pointing at what is no definition": Case(files={"Dockerfile": ""}, pointer="Dockerfile", fails="not_supported", hint="Point at one of"),
    "pointing at a pyproject without dependencies": Case(files={"pyproject.toml": RUFF}, pointer="pyproject.toml", fails="parse_error", says_why="no [project] dependencies"),
    "pointing with a variant": Case(files={"e/requirements.txt": "torch", "e/requirements-gpu.txt": "torch==2.9+cu128"}, pointer="e[gpu]", wins="e/requirements-gpu.txt", variants=["gpu"]),
    "a malformed pointer in the notebook": Case(files={}, says={"path": 3}, fails="invalid", says_why="metadata.element.environment"),
    "a broken definition is no reason to go on": Case(files={"environment.yml": "dependencies: [", "requirements.txt": "numpy"}, fails="parse_error", at="environment.yml:1"),
    "what is never executed": Case(files={"requirements.txt": "numpy", "apt.txt": "gcc", "postBuild": "", "start": "", "Dockerfile": "FROM x", "setup.py": ""}, wins="requirements.txt", ignored={"apt.txt": "not executed", "postBuild": "not executed", "start": "not executed", "Dockerfile": "image", "setup.py": "not executed"}, notices=["Dockerfile, apt.txt, postBuild, setup.py and start are not executed"]),
    "other tools' files": Case(files={"Pipfile": "", "Pipfile.lock": "{}", "poetry.lock": "", "anaconda-project.yml": ""}, wins="-", ignored={"Pipfile": "pipenv", "Pipfile.lock": "pipenv", "poetry.lock": "not read", "anaconda-project.yml": "environment.yml"}, notices=[]),
    "other languages": Case(files={"renv.lock": "{}", "DESCRIPTION": "", "Project.toml": "", "install.R": ""}, wins="-", ignored={"renv.lock": "R is not", "DESCRIPTION": "R is not", "Project.toml": "Julia", "install.R": "R is not"}),
    "names that are nearly right": Case(files={"Requirements.txt": "numpy", "env.yml": CONDA}, wins="-", ignored={"Requirements.txt": "count as requirements.txt", "env.yml": "count as environment.yml"}),
    "a directory named start means something else": Case(files={"requirements.txt": "numpy", "start/x": ""}, wins="requirements.txt", ignored={}, notices=[]),
    "set-up files further up than the definition": Case(files={"a/requirements.txt": "numpy", "Dockerfile": ""}, notebook="a/n.ipynb", wins="a/requirements.txt", ignored={}),
    "asked of a directory": Case(files={"a/requirements.txt": "numpy"}, notebook="a", wins="a/requirements.txt"),
    "asked of the top": Case(files={"requirements.txt": "numpy"}, notebook="", wins="requirements.txt"),
    "asked of a path out of the tree": Case(files={}, notebook="../n.ipynb", fails="invalid", says_why="not the path"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_right_file_counts(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path)
