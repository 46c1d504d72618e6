"""The project on disk: where its root is, which of its files count, and what is in them.

With git, the files are those that git tracks plus the untracked ones that it does not ignore;
submodules and repositories inside are listed the same way. Without git (no repository, no binary,
or a repository that git refuses) the tree is walked and every `.gitignore` in it honoured. In
both, `.elementignore` of the root (gitignore syntax) takes files away, or with `!` gives ignored
ones back, and what `NEVER_TAKEN` names (`.git`, `.ipynb_checkpoints`, `__pycache__`, `.venv`,
`node_modules`) and virtual environments by any name are left out unless git tracks them. Empty
directories are not kept.

The home directory and `/` are never a project: there only the visible files directly in them are
taken, so that a notebook saved in the home directory does not carry `~/.ssh` along.
"""

from element_jupyter.adapters.project.listing import Listing, find_root, look
from element_jupyter.adapters.project.reading import Scan, scan

__all__ = ["Listing", "Scan", "find_root", "look", "scan"]
