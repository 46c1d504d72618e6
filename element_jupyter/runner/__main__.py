"""`python -m element_jupyter.runner RUN.json`: a run in a process of its own.

With `--remote` instead of a file, the run is named by a URL and a token in the environment. The
composition of the process is the platform's, which a face does not import.
"""

import runpy
import sys

_WAY = "remote_runner" if sys.argv[1:] == ["--remote"] else "runner"
runpy.run_module(f"element_jupyter.platform.{_WAY}", run_name="__main__", alter_sys=True)
