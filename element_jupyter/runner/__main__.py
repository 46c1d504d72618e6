"""`python -m element_jupyter.runner RUN.json`: a run in a process of its own.

The composition of the process is the platform's, which a face does not import.
"""

import runpy

runpy.run_module("element_jupyter.platform.runner", run_name="__main__", alter_sys=True)
