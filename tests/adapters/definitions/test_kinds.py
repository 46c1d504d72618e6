"""What each kind of file means, and what it may not say: one row each."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from tests.adapters.definitions.definition_cases import Case, check

A, B = "a" * 64, "b" * 64


def project(dependencies: str = '["pandas"]', rest: str = "") -> str:
    return f'[project]\nname = "p"\nversion = "0"\ndependencies = {dependencies}\n{rest}'


def cell(*lines: str) -> str:
    return "\n".join(["# /// script", *(f"# {line}" for line in lines), "# ///", "import this"])


REQUIREMENTS = {
    "names, versions, markers, extras": Case(files={"requirements.txt": 'NumPy >= 2\npandas[excel]~=2.2 ; python_version < "3.14"\nzope.interface\n'}, specs=["NumPy >= 2", 'pandas[excel]~=2.2 ; python_version < "3.14"', "zope.interface"], names=["numpy", "pandas", "zope-interface"]),
    "comments, blank lines, continuations": Case(files={"requirements.txt": "# top\n\nnumpy \\\n  >=2  # why\n   \npandas#1\n"}, fails="parse_error", at="requirements.txt:6"),
    "a comment that ends with a backslash ends all the same": Case(files={"requirements.txt": "numpy # c \\\npandas\n"}, names=["numpy", "pandas"]),
    "empty": Case(files={"requirements.txt": ""}, wins="requirements.txt", names=[], notices=["names no package"]),
    "comments only": Case(files={"requirements.txt": "# nothing yet\n"}, names=[], notices=["names no package"]),
    "comments, order, spaces, case do not count": Case(files={"requirements.txt": "numpy>=2\npandas[b,a] >=2,<3\n"}, same_as={"requirements.txt": "# x\npandas[A, B]<3,>=2\n\n  NumPy >= 2  # y\n"}),
    "versions do count": Case(files={"requirements.txt": "numpy>=2\n"}, unlike={"requirements.txt": "numpy>=2.1\n"}),
    "markers do count": Case(files={"requirements.txt": "numpy\n"}, unlike={"requirements.txt": "numpy; sys_platform == 'linux'\n"}),
    "CRLF and BOM do not count": Case(files={"requirements.txt": b"\xef\xbb\xbfnumpy\r\npandas\r\n"}, names=["numpy", "pandas"], same_as={"requirements.txt": "numpy\npandas\n"}),
    "UTF-16 with its mark": Case(files={"requirements.txt": codecs.BOM_UTF16_LE + "numpy\r\n".encode("utf-16-le")}, names=["numpy"], same_as={"requirements.txt": "numpy\n"}),
    "UTF-16 without its mark": Case(files={"requirements.txt": "numpy\n".encode("utf-16-le")}, fails="parse_error", hint="save it as UTF-8"),
    "latin-1": Case(files={"requirements.txt": "numpy\n# für\n".encode("latin-1")}, fails="parse_error", at="requirements.txt:2", hint="UTF-8"),
    "bytes of no text": Case(files={"requirements.txt": bytes(range(256))}, fails="parse_error"),
    "conflicting requirements are the resolver's to judge": Case(files={"requirements.txt": "numpy==1.26\nnumpy>=2\n"}, names=["numpy", "numpy"]),
    "included files": Case(files={"requirements.txt": "-r base/a.txt\npandas\n", "base/a.txt": "--requirement=b.txt\nscipy\n", "base/b.txt": "numpy\n"}, names=["numpy", "scipy", "pandas"], closure=["base/a.txt", "base/b.txt", "requirements.txt"], same_as={"requirements.txt": "numpy\nscipy\npandas\n"}),
    "included from above": Case(files={"common.txt": "numpy\n", "a/requirements.txt": "-r ../common.txt\n"}, notebook="a/n.ipynb", names=["numpy"], closure=["a/requirements.txt", "common.txt"]),
    "included twice": Case(files={"requirements.txt": "-r a.txt\n-r b.txt\n", "a.txt": "-r c.txt\n", "b.txt": "-r c.txt\n", "c.txt": "numpy\n"}, names=["numpy"]),
    "constraints": Case(files={"requirements.txt": "-c c.txt\npandas\n", "c.txt": "numpy<2\n"}, names=["pandas"], closure=["c.txt", "requirements.txt"], unlike={"requirements.txt": "-c c.txt\npandas\n", "c.txt": "numpy<3\n"}),
    "an include in a circle": Case(files={"requirements.txt": "numpy\n-r a.txt\n", "a.txt": "-r requirements.txt\n"}, fails="parse_error", at="a.txt:1", says_why="requirements.txt → a.txt → requirements.txt"),
    "a missing include": Case(files={"requirements.txt": "-r nowhere.txt\n"}, fails="parse_error", at="requirements.txt:1", hint="Create nowhere.txt"),
    "an include out of the tree": Case(files={"requirements.txt": "-r ../../etc/passwd\n"}, fails="parse_error", at="requirements.txt:1", says_why="out of the project"),
    "an absolute include": Case(files={"requirements.txt": "-r /etc/passwd\n"}, fails="parse_error", says_why="out of the project"),
    "an include over http": Case(files={"requirements.txt": "-r https://x.example/r.txt\n"}, fails="parse_error", at="requirements.txt:1", hint="Copy that file"),
    "an include with a variable": Case(files={"requirements.txt": "-r ${HOME}/r.txt\n"}, fails="parse_error"),
    "too many includes": Case(files={"requirements.txt": "".join(f"-r {i}.txt\n" for i in range(101)), **{f"{i}.txt": "" for i in range(101)}}, fails="parse_error", at="requirements.txt:101", says_why="too many"),
    "includes too deep": Case(files={"requirements.txt": "-r 0.txt\n", **{f"{i}.txt": f"-r {i + 1}.txt\n" for i in range(30)}}, fails="parse_error", says_why="too many"),
    "an index": Case(files={"requirements.txt": "--index-url https://pypi.corp.example/simple/\nnumpy\n"}, origins=[("index", "https://pypi.corp.example/simple")], unlike={"requirements.txt": "numpy\n"}),
    "more indexes and links, whose order counts": Case(files={"requirements.txt": "--extra-index-url https://a.example\n--extra-index-url=https://b.example\n-f https://c.example/wheels\nnumpy\n"}, origins=[("index", "https://a.example"), ("index", "https://b.example"), ("find_links", "https://c.example/wheels")], unlike={"requirements.txt": "--extra-index-url https://b.example\n--extra-index-url https://a.example\n-f https://c.example/wheels\nnumpy\n"}),
    "an index with credentials": Case(files={"requirements.txt": "-i https://user:pw@pypi.corp.example/simple\nnumpy\n"}, origins=[("index", "https://pypi.corp.example/simple")], notices=["has credentials for https://pypi.corp.example/simple"], same_as={"requirements.txt": "-i https://other:one@pypi.corp.example/simple\nnumpy\n"}),
    "an index whose credentials are variables": Case(files={"requirements.txt": "-i https://${USER}:${TOKEN}@pypi.corp.example/simple\nnumpy\n"}, origins=[("index", "https://pypi.corp.example/simple")], notices=[]),
    "an index whose host is a variable": Case(files={"requirements.txt": "-i https://${HOST}/simple\nnumpy\n"}, fails="not_supported", at="requirements.txt:1", says_why="variable"),
    "an index on this disk": Case(files={"requirements.txt": "-i file:///srv/simple\nnumpy\n"}, fails="not_supported", at="requirements.txt:1"),
    "links on this disk": Case(files={"requirements.txt": "--find-links ./wheels\nnumpy\n"}, fails="not_supported", hint="on a server"),
    "a trusted host": Case(files={"requirements.txt": "--trusted-host pypi.corp.example\nnumpy\n"}, origins=[], notices=["--trusted-host in requirements.txt:1 is not followed"]),
    "a wheel by its address": Case(files={"requirements.txt": "demo @ https://user:pw@x.example/demo-1-py3-none-any.whl\n"}, names=["demo"], specs=["demo @ https://x.example/demo-1-py3-none-any.whl"], origins=[("url", "https://x.example/demo-1-py3-none-any.whl")], notices=["credentials"]),
    "a bare address": Case(files={"requirements.txt": "https://x.example/demo-1-py3-none-any.whl\n"}, names=["demo"], origins=[("url", "https://x.example/demo-1-py3-none-any.whl")]),
    "a repository": Case(files={"requirements.txt": "demo @ git+https://x.example/demo.git@v1#subdirectory=py\n"}, names=["demo"], origins=[("vcs", "https://x.example/demo.git@v1")]),
    "a repository over ssh": Case(files={"requirements.txt": "demo @ git+ssh://git@x.example/demo.git\n"}, origins=[("vcs", "ssh://git@x.example/demo.git")], notices=[]),
    "a repository of another kind": Case(files={"requirements.txt": "demo @ hg+https://x.example/demo\n"}, fails="not_supported", says_why="only git"),
    "a revision that is an option": Case(files={"requirements.txt": "demo @ git+https://x.example/demo@--upload-pack=x\n"}, fails="not_supported", says_why="dash"),
    "an address that tools read differently": Case(files={"requirements.txt": "-i https://evil.example\\@pypi.org/simple\n"}, fails="not_supported", at="requirements.txt:1", says_why="character"),
    "an address that hides its server behind a user": Case(files={"requirements.txt": "-i https://pypi.org:x@evil.example/simple\n"}, origins=[("index", "https://evil.example/simple")]),
    "an address without a server": Case(files={"requirements.txt": "demo @ git+https:\ndemo @ https:///evil.example/a.whl\n"}, fails="not_supported", says_why="no server"),
    "a repository on this disk": Case(files={"requirements.txt": "demo @ git+file:///srv/demo\n"}, fails="not_supported"),
    "the project itself, editable": Case(files={"requirements.txt": "numpy\n-e .\n"}, fails="not_supported", at="requirements.txt:2", hint="can import the project's own code"),
    "a local directory": Case(files={"requirements.txt": "./mylib\n"}, fails="not_supported", at="requirements.txt:1", says_why="is a path"),
    "a local wheel": Case(files={"requirements.txt": "wheels/demo-1-py3-none-any.whl\n"}, fails="not_supported", says_why="is a path"),
    "a file: address": Case(files={"requirements.txt": "demo @ file:///srv/demo.whl\n"}, fails="not_supported", says_why="is a path"),
    "conda's way of writing versions": Case(files={"requirements.txt": "pandas\nnumpy=1.26\n"}, fails="parse_error", at="requirements.txt:2", hint="Write numpy==1.26."),
    "a version after a space": Case(files={"requirements.txt": "numpy 1.26\n"}, fails="parse_error", hint="Write numpy==1.26."),
    "a command instead of a name": Case(files={"requirements.txt": "pip install numpy pandas\n"}, fails="parse_error", hint="Write only what is installed: numpy pandas"),
    "a channel in the wrong file": Case(files={"requirements.txt": "conda-forge::numpy\n"}, fails="parse_error", hint="environment.yml"),
    "a name that is none": Case(files={"requirements.txt": "-numpy\n"}, fails="parse_error", at="requirements.txt:1"),
    "a name with an escape sequence": Case(files={"requirements.txt": "num\x1b[31mpy\n"}, fails="parse_error", at="requirements.txt:1", says_why="U+001B"),
    "an option that nobody knows": Case(files={"requirements.txt": "--frobnicate yes\n"}, fails="parse_error", at="requirements.txt:1", says_why="--frobnicate"),
    "two options on a line": Case(files={"requirements.txt": "-i https://a.example --extra-index-url https://b.example\n"}, fails="parse_error", hint="line of its own"),
    "options for building": Case(files={"requirements.txt": 'numpy --config-settings="x=y"\n'}, fails="not_supported", says_why="building from source"),
    "all pinned and hashed: its own lock": Case(files={"requirements.txt": f"numpy==2.0 --hash=sha256:{A} \\\n  --hash=sha256:{B}\n"}, lock="requirements.txt", specs=["numpy==2.0"], unlike={"requirements.txt": f"numpy==2.0 --hash=sha256:{A}\n"}),
    "the order of hashes does not count": Case(files={"requirements.txt": f"numpy==2.0 --hash=sha256:{A} --hash=sha256:{B}\n"}, same_as={"requirements.txt": f"numpy==2.0 --hash=sha256:{B} --hash=sha256:{A}\n"}),
    "hashes for some only": Case(files={"requirements.txt": f"numpy==2.0 --hash=sha256:{A}\npandas==2.2\n"}, fails="parse_error", at="requirements.txt:2", says_why="has no hash"),
    "hashes without a pin": Case(files={"requirements.txt": f"numpy>=2 --hash=sha256:{A}\n"}, fails="parse_error", at="requirements.txt:1", says_why="not pinned"),
    "variants are files": Case(files={"requirements.txt": "torch\n", "requirements-gpu.txt": "torch==2.9+cu128\n", "requirements-dev.txt": "pytest\n"}, wins="requirements.txt", variants=["dev", "gpu"], ignored={}),
    "a variant": Case(files={"requirements.txt": "torch\n", "requirements-gpu.txt": "-r requirements.txt\nnvidia-ml-py\n"}, variant="gpu", wins="requirements-gpu.txt", names=["torch", "nvidia-ml-py"]),
    "a variant that is not there": Case(files={"requirements.txt": "torch\n", "requirements-gpu.txt": "torch\n"}, variant="tpu", fails="parse_error", hint="It has gpu"),
    "Python by .python-version": Case(files={"requirements.txt": "numpy\n", ".python-version": "3.12\n"}, python="==3.12.*", python_from=".python-version", unlike={"requirements.txt": "numpy\n", ".python-version": "3.13\n"}),
    "Python by .python-version further up": Case(files={"a/requirements.txt": "numpy\n", ".python-version": "3.12.4\n"}, notebook="a/n.ipynb", python="==3.12.4"),
    "Python by runtime.txt": Case(files={"requirements.txt": "numpy\n", "runtime.txt": "python-3.11\n"}, python="==3.11.*", python_from="runtime.txt"),
    "a runtime of R": Case(files={"requirements.txt": "numpy\n", "runtime.txt": "r-4.1-2023-01-01\n"}, fails="not_supported", at="runtime.txt:1"),
    "PyPy": Case(files={"requirements.txt": "numpy\n", ".python-version": "pypy3.10\n"}, fails="not_supported", hint="3.12"),
    "no version at all": Case(files={"requirements.txt": "numpy\n", ".python-version": "latest\n"}, fails="parse_error", at=".python-version:1"),
    "Python alone defines nothing": Case(files={".python-version": "3.12\n"}, wins="-", ignored={".python-version": "names Python only"}),
    "ten thousand requirements": Case(files={"requirements.txt": "".join(f"p{i}\n" for i in range(10_001))}, fails="parse_error", at="requirements.txt:10001", says_why="10,000"),
    "too large": Case(files={"requirements.txt": b"#" * 1_000_001}, fails="parse_error", at="requirements.txt", says_why="1.0 MB"),
    "a requirement without end": Case(files={"requirements.txt": "a" * 3_000}, fails="parse_error", at="requirements.txt:1"),
    "a marker of parentheses": Case(files={"requirements.txt": f"numpy; {'(' * 900}os_name == 'x'{')' * 900}"}, fails="parse_error", at="requirements.txt:1"),
    "a version of too many digits": Case(files={"requirements.txt": f"numpy=={'9' * 1900}"}, fails="parse_error", at="requirements.txt:1", says_why="digits"),
}  # fmt: skip

PYPROJECT = {
    "dependencies": Case(files={"pyproject.toml": project('[\n  "pandas>=2", # why\n  "NumPy",\n]')}, names=["pandas", "numpy"], lock="-", extras=[], groups=[]),
    "comments and order do not count": Case(files={"pyproject.toml": project('["a>=1", "b"]')}, same_as={"pyproject.toml": "# x\n" + project('[\n"B",\n"a >= 1",\n]') + "[tool.ruff]\nline-length = 100\n"}),
    "requires-python does count": Case(files={"pyproject.toml": project(rest='requires-python = ">=3.11"')}, python=">=3.11", unlike={"pyproject.toml": project(rest='requires-python = ">=3.12"')}),
    "requires-python and .python-version": Case(files={"pyproject.toml": project(rest='requires-python = ">=3.11"'), ".python-version": "3.12"}, python=">=3.11,==3.12.*", python_from="pyproject.toml and .python-version"),
    "a requires-python of Poetry's kind": Case(files={"pyproject.toml": project(rest='requires-python = "^3.11"')}, fails="parse_error", hint=">=3.11"),
    "uv.lock is passed on": Case(files={"pyproject.toml": project(), "uv.lock": "version = 1\n"}, lock="uv.lock", unlike={"pyproject.toml": project(), "uv.lock": "version = 1\n\n"}),
    "uv.lock says where from": Case(files={"pyproject.toml": project(), "uv.lock": 'source = { registry = "https://pypi.org/simple" }\nsource = { git = "https://x.example/d?rev=1#abc" }\n'}, origins=[("vcs", "https://x.example/d"), ("index", "https://pypi.org/simple")]),
    "a development group is uv's default": Case(files={"pyproject.toml": project(rest='[dependency-groups]\ndev = ["pytest"]\ndocs = ["sphinx"]\n')}, groups=["dev"], names=["pandas", "pytest"]),
    "default groups are chosen": Case(files={"pyproject.toml": project(rest='[dependency-groups]\ndev = ["pytest"]\nnb = ["seaborn"]\n[tool.uv]\ndefault-groups = ["nb"]\n')}, groups=["nb"], names=["pandas", "seaborn"]),
    "all groups": Case(files={"pyproject.toml": project(rest='[dependency-groups]\nb = ["x"]\na = ["y"]\n[tool.uv]\ndefault-groups = "all"\n')}, groups=["a", "b"]),
    "groups and extras of ours": Case(files={"pyproject.toml": project(rest='[project.optional-dependencies]\nPlot = ["seaborn"]\n[dependency-groups]\nnb = ["tqdm"]\n[tool.element]\ngroups = ["nb"]\nextras = ["plot"]\n')}, groups=["nb"], extras=["plot"], names=["pandas", "seaborn", "tqdm"]),
    "groups without a project": Case(files={"pyproject.toml": '[dependency-groups]\ndev = ["pytest", {include-group = "nb"}]\nnb = ["tqdm"]\n'}, groups=["dev"], names=["pytest", "tqdm"]),
    "settings of uv only": Case(files={"pyproject.toml": "[tool.uv]\npackage = false\n"}, wins="pyproject.toml", names=[], notices=["names no package"]),
    "no group is chosen": Case(files={"pyproject.toml": '[dependency-groups]\na = ["x"]\nb = ["y"]\n'}, fails="parse_error", at="pyproject.toml:1", hint="[tool.element]"),
    "a group that includes itself": Case(files={"pyproject.toml": '[dependency-groups]\ndev = [{include-group = "nb"}]\nnb = [{include-group = "dev"}]\n'}, fails="parse_error", says_why="includes itself"),
    "a group that is not there": Case(files={"pyproject.toml": project(rest='[dependency-groups]\nnotebook = ["x"]\n[tool.element]\ngroups = ["notebok"]\n')}, fails="parse_error", at="pyproject.toml:8", hint="Write notebook."),
    "an extra that is not there": Case(files={"pyproject.toml": project(rest='[tool.element]\nextras = ["x"]\n')}, fails="parse_error", says_why="no extra 'x'"),
    "older development dependencies": Case(files={"pyproject.toml": '[tool.uv]\ndev-dependencies = ["ruff"]\n'}, groups=["dev"], names=["ruff"]),
    "variants": Case(files={"pyproject.toml": project(rest='[project.optional-dependencies]\ncu128 = ["torch"]\n[tool.element.variants.gpu]\nextras = ["cu128"]\n')}, variants=["gpu"], extras=[], names=["pandas"]),
    "a variant": Case(files={"pyproject.toml": project(rest='[project.optional-dependencies]\ncu128 = ["torch"]\n[tool.element.variants.gpu]\nextras = ["cu128"]\n')}, variant="gpu", extras=["cu128"], names=["pandas", "torch"]),
    "a variant that is not there": Case(files={"pyproject.toml": project(rest="[tool.element.variants.gpu]\nextras = []\n")}, variant="gpo", fails="parse_error", hint="Write gpu."),
    "a key of ours that is misspelt": Case(files={"pyproject.toml": project(rest='[tool.element]\nenviroment = "x"\n')}, fails="parse_error", at="pyproject.toml:6", hint="Write environment."),
    "dynamic dependencies": Case(files={"pyproject.toml": '[project]\nname = "p"\nversion = "0"\ndynamic = ["dependencies"]\n'}, fails="not_supported", at="pyproject.toml:4", says_why="would have to be run"),
    "dynamic dependencies that are in a file": Case(files={"pyproject.toml": '[project]\nname = "p"\ndynamic = ["version", "dependencies"]\n[tool.setuptools.dynamic]\ndependencies = {file = ["requirements.txt"]}\n', "requirements.txt": "numpy"}, fails="not_supported", hint='environment = "requirements.txt"'),
    "a dynamic version": Case(files={"pyproject.toml": '[project]\nname = "p"\ndynamic = ["version"]\ndependencies = ["numpy"]\n'}, names=["numpy"]),
    "no version": Case(files={"pyproject.toml": '[project]\nname = "p"\ndependencies = ["numpy"]\n'}, fails="parse_error", hint='version = "0"'),
    "no name": Case(files={"pyproject.toml": '[project]\ndependencies = ["numpy"]\n'}, fails="parse_error", at="pyproject.toml:1"),
    "a wrong requirement": Case(files={"pyproject.toml": project('[\n"numpy",\n"pandas=2",\n]')}, fails="parse_error", at="pyproject.toml:6", hint="pandas==2"),
    "dependencies that are no list": Case(files={"pyproject.toml": project('"numpy"')}, fails="parse_error", at="pyproject.toml:4"),
    "groups that double one another": Case(files={"pyproject.toml": "[dependency-groups]\n" + "".join(f'g{i} = [{{include-group = "g{i + 1}"}}, {{include-group = "g{i + 1}"}}]\n' for i in range(60)) + 'g60 = ["a"]\n[tool.uv]\ndefault-groups = ["g0"]\n'}, groups=["g0"], names=["a"]),
    "no TOML": Case(files={"pyproject.toml": "[project\nname = 1\n"}, fails="parse_error", at="pyproject.toml:1"),
    "indexes of uv": Case(files={"pyproject.toml": project(rest='[[tool.uv.index]]\nname = "corp"\nurl = "https://user:pw@pypi.corp.example/simple"\nexplicit = true\n')}, origins=[("index", "https://pypi.corp.example/simple")], notices=["pyproject.toml:7 has credentials"]),
    "older indexes and links of uv": Case(files={"pyproject.toml": project(rest='[tool.uv]\nextra-index-url = ["https://a.example"]\nfind-links = ["https://b.example"]\n')}, origins=[("index", "https://a.example"), ("find_links", "https://b.example")]),
    "sources of uv": Case(files={"pyproject.toml": project('["demo", "other"]', '[tool.uv.sources]\ndemo = { git = "https://x.example/demo", rev = "v1" }\nother = { url = "https://x.example/other.whl" }\n')}, origins=[("vcs", "https://x.example/demo"), ("url", "https://x.example/other.whl")]),
    "a source that is a path": Case(files={"pyproject.toml": project('["demo"]', '[tool.uv.sources]\ndemo = { path = "../demo", editable = true }\n')}, fails="not_supported", at="pyproject.toml:6", says_why="belong to the code"),
    "a source that is a workspace's member": Case(files={"pyproject.toml": project('["My_Demo"]', "[tool.uv.sources]\nmy-demo = { workspace = true }\n")}, fails="not_supported", says_why="workspace"),
    "a source of what nobody asks for": Case(files={"pyproject.toml": project('["numpy"]', '[tool.uv.sources]\ndemo = { path = "demo" }\n')}, names=["numpy"]),
    "the top of a workspace": Case(files={"pyproject.toml": project(rest='[tool.uv.workspace]\nmembers = ["packages/*"]\n')}, fails="not_supported", at="pyproject.toml:5", hint="requirements.txt"),
    "uv's settings do count": Case(files={"pyproject.toml": project()}, unlike={"pyproject.toml": project(rest='[tool.uv]\nconstraint-dependencies = ["numpy<2"]\n')}),
    "a pointer that is no text": Case(files={"pyproject.toml": "[tool.element]\nenvironment = 3\n"}, fails="parse_error", at="pyproject.toml:2"),
    "extras that are no table": Case(files={"pyproject.toml": project(rest="optional-dependencies = 3\n")}, fails="parse_error", at="pyproject.toml:5"),
    "extras that are no lists": Case(files={"pyproject.toml": project(rest='[project.optional-dependencies]\nplot = "x"\n')}, fails="parse_error", at="pyproject.toml:6"),
    "a section that is no table": Case(files={"pyproject.toml": "tool = 3\n"}, fails="parse_error"),
    "variants that are no tables": Case(files={"pyproject.toml": project(rest="[tool.element]\nvariants = 3\n")}, fails="parse_error", at="pyproject.toml:6"),
    "a variant whose name is none": Case(files={"pyproject.toml": project(rest='[tool.element.variants."a/b"]\nextras = []\n')}, fails="parse_error", says_why="no name of a variant"),
    "a variant with an unknown key": Case(files={"pyproject.toml": project(rest="[tool.element.variants.gpu]\nextra = []\n")}, fails="parse_error", at="pyproject.toml:6", hint="Write extras."),
    "a group that is no list": Case(files={"pyproject.toml": '[dependency-groups]\ndev = "x"\n'}, fails="parse_error", at="pyproject.toml:2"),
    "a group with a number in it": Case(files={"pyproject.toml": "[dependency-groups]\ndev = [3]\n"}, fails="parse_error", at="pyproject.toml:2"),
    "a default group that is not there": Case(files={"pyproject.toml": project(rest='[tool.uv]\ndefault-groups = ["nb"]\n')}, fails="parse_error", at="pyproject.toml:6"),
    "a requires-python that is no text": Case(files={"pyproject.toml": project(rest="requires-python = 3.11\n")}, fails="parse_error", at="pyproject.toml:5"),
    "sources that are no table": Case(files={"pyproject.toml": project(rest="[tool.uv]\nsources = 3\n")}, fails="parse_error", says_why="no table"),
    "a source that is no table": Case(files={"pyproject.toml": project(rest="[tool.uv.sources]\npandas = 3\n")}, fails="parse_error", says_why="pandas"),
    "an index without an address": Case(files={"pyproject.toml": project(rest='[[tool.uv.index]]\nname = "x"\n')}, fails="parse_error", at="pyproject.toml:5"),
    "an index that is a directory": Case(files={"pyproject.toml": project(rest='[[tool.uv.index]]\nurl = "../wheels"\n')}, fails="not_supported", at="pyproject.toml:6"),
    "a page of links of uv": Case(files={"pyproject.toml": project(rest='[[tool.uv.index]]\nurl = "https://x.example/links"\nformat = "flat"\n')}, origins=[("find_links", "https://x.example/links")]),
    "nested too deep": Case(files={"pyproject.toml": f"x = {'[' * 9_000}"}, fails="parse_error", says_why="deep"),
    "a line without end": Case(files={"pyproject.toml": "a." * 20_000 + "b = 1"}, fails="parse_error", says_why="50 parts"),
    "deep tables": Case(files={"pyproject.toml": project(rest=f"[tool.uv{'.a' * 30}]\n")}, fails="parse_error", says_why="deep"),
}  # fmt: skip

CONDA = {
    "packages and pip": Case(files={"environment.yml": "name: x\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.12\n  - conda-forge::numpy >=2\n  - pip\n  - pip:\n      - humanize>=4  # nice\n      - tqdm\n"}, names=["python", "numpy", "pip", "humanize", "tqdm"], origins=[("channel", "conda-forge")]),
    "comments and order do not count": Case(files={"environment.yml": "channels: [a, b]\ndependencies: [python=3.12, 'numpy >=2']\n"}, same_as={"environment.yml": "# x\ndependencies:\n- numpy>=2\n- python=3.12\nchannels:\n- a\n- b\nname: other\n"}),
    "the order of channels does": Case(files={"environment.yml": "channels: [a, b]\ndependencies: [numpy]\n"}, unlike={"environment.yml": "channels: [b, a]\ndependencies: [numpy]\n"}),
    "a version that looks like a number": Case(files={"environment.yml": "dependencies:\n  - python=3.10\n"}, specs=["python=3.10"]),
    "includes below pip": Case(files={"environment.yml": "dependencies:\n  - python\n  - pip:\n    - -r more.txt\n    - --extra-index-url https://a.example\n", "more.txt": "tqdm\n"}, names=["python", "tqdm"], closure=["environment.yml", "more.txt"], origins=[("index", "https://a.example")]),
    "a list instead of keys": Case(files={"environment.yml": "- numpy\n"}, fails="parse_error", at="environment.yml:1"),
    "an empty channel": Case(files={"environment.yml": "channels: ['']\ndependencies: [numpy]\n"}, fails="not_supported", at="environment.yml:1"),
    "a channel with a variable": Case(files={"environment.yml": "channels: ['https://x.example/${C}']\ndependencies: [numpy]\n"}, fails="not_supported", says_why="variable"),
    "a list below pip": Case(files={"environment.yml": "dependencies:\n  - pip:\n    - [tqdm]\n"}, fails="parse_error", at="environment.yml:3"),
    "several lines in one item": Case(files={"environment.yml": "dependencies:\n  - pip:\n    - |\n      tqdm\n      --index-url https://evil.example\n"}, fails="parse_error", says_why="more than one line"),
    "a missing include below pip": Case(files={"environment.yml": "dependencies:\n  - pip:\n    - -r more.txt\n"}, fails="parse_error", at="environment.yml:3"),
    "Python is among the packages": Case(files={"environment.yml": "dependencies: [python=3.12]\n", ".python-version": "3.11"}, python="", ignored={".python-version": "among the packages"}),
    "Python from elsewhere when it is not": Case(files={"environment.yml": "dependencies: [numpy]\n", ".python-version": "3.11"}, python="==3.11.*"),
    "a channel with credentials": Case(files={"environment.yml": "channels: ['https://user:pw@x.example/c']\ndependencies: [numpy]\n"}, origins=[("channel", "https://x.example/c")], notices=["credentials"]),
    "a channel on this disk": Case(files={"environment.yml": "channels: ['file:///srv/c']\ndependencies: [numpy]\n"}, fails="not_supported", at="environment.yml:1"),
    "a channel that is a path": Case(files={"environment.yml": "channels: [../c]\ndependencies: [numpy]\n"}, fails="not_supported"),
    "nodefaults": Case(files={"environment.yml": "channels: [conda-forge, nodefaults]\ndependencies: [numpy]\n"}, origins=[("channel", "conda-forge")]),
    "a package by its address": Case(files={"environment.yml": "dependencies:\n  - https://x.example/numpy-2-0.conda\n"}, fails="not_supported", at="environment.yml:2"),
    "no package's name": Case(files={"environment.yml": "dependencies:\n  - '!!'\n"}, fails="parse_error", at="environment.yml:2"),
    "an unknown key": Case(files={"environment.yml": "dependencys: [numpy]\n"}, fails="parse_error", at="environment.yml:1", hint="Write dependencies."),
    "no dependencies": Case(files={"environment.yml": "name: x\n"}, fails="parse_error", says_why="no dependencies"),
    "empty": Case(files={"environment.yml": ""}, fails="parse_error", hint="dependencies:"),
    "empty lists": Case(files={"environment.yml": "channels:\ndependencies:\n"}, names=[], notices=["names no package"]),
    "variables": Case(files={"environment.yml": "dependencies: [numpy]\nvariables: {A: b}\n"}, notices=["variables in environment.yml are not set"]),
    "no list": Case(files={"environment.yml": "dependencies: numpy\n"}, fails="parse_error", at="environment.yml:1", says_why="no list"),
    "a list of another tool": Case(files={"environment.yml": "dependencies:\n  - npm: [x]\n"}, fails="parse_error", at="environment.yml:2"),
    "a variant": Case(files={"environment.yml": "dependencies: [numpy]\n", "environment-gpu.yml": "dependencies: [cupy]\n"}, variant="gpu", wins="environment-gpu.yml", names=["cupy"]),
    "UTF-16": Case(files={"environment.yml": "dependencies: [numpy]\n".encode("utf-16")}, names=["numpy"]),
    "a tab": Case(files={"environment.yml": "dependencies:\n\t- numpy\n"}, fails="parse_error", at="environment.yml:2"),
    "the same key twice": Case(files={"environment.yml": "dependencies: [a]\ndependencies: [b]\n"}, fails="parse_error", says_why="twice"),
    "an alias": Case(files={"environment.yml": "x: &a [b]\ndependencies: *a\n"}, fails="parse_error", says_why="alias"),
    "a bomb of aliases": Case(files={"environment.yml": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)) + "dependencies: *i\n"}, fails="parse_error"),
    "a tag that makes objects": Case(files={"environment.yml": "dependencies: !!python/object/apply:os.system [id]\n"}, fails="parse_error", says_why="tag"),
    "nested too deep": Case(files={"environment.yml": f"dependencies: {'[' * 5_000}"}, fails="parse_error"),
    "two documents": Case(files={"environment.yml": "dependencies: [a]\n---\ndependencies: [b]\n"}, fails="parse_error", says_why="more than one"),
    "its lock, made from it": Case(files={"environment.yml": "dependencies: [a]\n", "environment.pixi.lock": "version: 6\n"}, lock="-", ignored={"environment.pixi.lock": "does not say"}),
}  # fmt: skip

INLINE = {
    "a block": Case(files={}, cell=cell('requires-python = ">=3.11"', "dependencies = [", '  "humanize>=4", # nice', '  "tqdm",', "]"), wins="n.ipynb", kind="inline", names=["humanize", "tqdm"], python=">=3.11", lock="-", why="cell 1"),
    "indexes of uv": Case(files={}, cell=cell('dependencies = ["a"]', "[tool.uv]", 'index-url = "https://a.example/simple"'), origins=[("index", "https://a.example/simple")]),
    "an empty block": Case(files={"requirements.txt": "numpy"}, cell=cell(""), wins="n.ipynb", names=[]),
    "not closed": Case(files={}, cell='# /// script\n# dependencies = ["a"]\n', fails="parse_error", at="n.ipynb, cell 1", hint="# ///"),
    "two blocks": Case(files={}, cell=cell('dependencies = ["a"]') + "\n" + cell('dependencies = ["b"]'), fails="parse_error", hint="Keep one"),
    "no TOML": Case(files={}, cell=cell("dependencies = ["), fails="parse_error", says_why="not TOML"),
    "dependencies that are no list": Case(files={}, cell=cell('dependencies = "a"'), fails="parse_error", at="n.ipynb, cell 1:2"),
    "a requires-python that is no text": Case(files={}, cell=cell("requires-python = 3"), fails="parse_error"),
    "a cell that is text, and blocks in other cells": Case(files={"n.ipynb": '{"cells": [{"cell_type": "markdown", "source": "# /// script"}, 3, {"cell_type": "code", "source": "# /// script\\n# dependencies = [\\"a\\"]\\n# ///"}]}'}, wins="n.ipynb", names=["a"]),
    "a wrong requirement, by its line in the cell": Case(files={}, cell="import this\n\n" + cell("dependencies = [", '  "numpy=2",', "]"), fails="parse_error", at="n.ipynb, cell 1:5"),
    "a path": Case(files={}, cell=cell('dependencies = ["./lib"]'), fails="not_supported", says_why="is a path"),
    "another kind of block": Case(files={"requirements.txt": "numpy"}, cell="# /// other\n# a = 1\n# ///\n", wins="requirements.txt"),
    "text that only mentions it": Case(files={"requirements.txt": "numpy"}, cell='print("# /// script")\n', wins="requirements.txt"),
    ".python-version does not count": Case(files={".python-version": "3.11"}, cell=cell('dependencies = ["a"]'), python="", ignored={".python-version": "by itself"}),
    "a variant of it": Case(files={}, cell=cell('dependencies = ["a"]'), variant="gpu", fails="parse_error", hint="Ask for none."),
}  # fmt: skip

LOCKS = {
    "PEP 751": Case(files={"pylock.toml": 'lock-version = "1.0"\nrequires-python = ">=3.11"\n[[packages]]\nname = "numpy"\nversion = "2.0"\nindex = "https://a.example/simple"\n'}, specs=["numpy==2.0"], python=">=3.11", origins=[("index", "https://a.example/simple")]),
    "a lock's own bytes count": Case(files={"pylock.toml": 'lock-version = "1.0"\npackages = []\n'}, unlike={"pylock.toml": 'lock-version = "1.0"\npackages = [] # x\n'}),
    "files of PyPI": Case(files={"pylock.toml": 'lock-version = "1.0"\n[[packages]]\nname = "a"\nwheels = [{url = "https://files.pythonhosted.org/a.whl"}]\n[[packages]]\nname = "b"\nwheels = [{url = "https://evil.example/x/b.whl"}]\n'}, origins=[("index", "https://pypi.org/simple"), ("url", "https://evil.example")]),
    "a lock with a repository": Case(files={"pylock.toml": 'lock-version = "1.0"\n[[packages]]\nname = "a"\nvcs = {type = "git", url = "https://x.example/a"}\n'}, origins=[("vcs", "https://x.example/a")]),
    "a lock with a directory": Case(files={"pylock.toml": 'lock-version = "1.0"\n[[packages]]\nname = "a"\ndirectory = {path = "."}\n'}, fails="not_supported", hint="--no-emit-project"),
    "no lock": Case(files={"pylock.toml": "a = 1\n"}, fails="parse_error", hint="uv export"),
    "a later version": Case(files={"pylock.toml": 'lock-version = "2.0"\npackages = []\n'}, fails="not_supported", says_why="2.0"),
    "a name that is none": Case(files={"pylock.toml": 'lock-version = "1.0"\n[[packages]]\nname = "../../x"\n'}, fails="parse_error"),
    "pixi": Case(files={"pixi.toml": '[workspace]\nchannels = ["conda-forge"]\n[dependencies]\npython = "3.12.*"\n[pypi-dependencies]\nmine = {path = ".", editable = true}\n[environments]\ngpu = ["cuda"]\n', "pixi.lock": "version: 6\n"}, kind="pixi", names=["python", "mine"], variants=["gpu"], lock="pixi.lock", notices=["'mine' in pixi.toml:6 is a path"]),
    "only pixi's lock counts": Case(files={"pixi.toml": '[dependencies]\na = "1"\n', "pixi.lock": "version: 6\n"}, same_as={"pixi.toml": '[dependencies]\na = "2"\n', "pixi.lock": "version: 6\n"}, unlike={"pixi.toml": '[dependencies]\na = "1"\n', "pixi.lock": "version: 7\n"}),
    "a pixi environment that is not there": Case(files={"pixi.toml": "[environments]\ngpu = []\n", "pixi.lock": ""}, variant="tpu", fails="parse_error", hint="default, gpu"),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_files(name: str, tmp_path: Path) -> None:
    check(REQUIREMENTS[name], tmp_path)


@pytest.mark.parametrize("name", PYPROJECT)
def test_projects(name: str, tmp_path: Path) -> None:
    check(PYPROJECT[name], tmp_path)


@pytest.mark.parametrize("name", CONDA)
def test_conda_files(name: str, tmp_path: Path) -> None:
    check(CONDA[name], tmp_path)


@pytest.mark.parametrize("name", INLINE)
def test_inline_definitions(name: str, tmp_path: Path) -> None:
    check(INLINE[name], tmp_path)


@pytest.mark.parametrize("name", LOCKS)
def test_locks(name: str, tmp_path: Path) -> None:
    check(LOCKS[name], tmp_path)
