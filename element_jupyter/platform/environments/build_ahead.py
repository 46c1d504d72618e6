"""`python -m element_jupyter.platform.environments.build_ahead --data DIR`: what `up` begins with.

Builds the shared environments that are not there yet, one after the other, so that the first
notebook need not wait, and finishes the byte-code that an earlier stop left half made. What cannot
be built is logged; a notebook that wants it is told why.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import setproctitle

from element_jupyter import config
from element_jupyter.core.environments.building import EnvironmentFailed, Phase
from element_jupyter.core.errors import ElementError
from element_jupyter.platform.environments.composition import environments

log = logging.getLogger("element")

_NICENESS = 5


def build_all(settings: config.Element) -> bool:
    """Build every shared environment; return whether all of them are there."""
    made = environments(settings)
    if made is None:
        return True
    whole = True
    for name, found in made.shared().items():
        try:
            environment = made.ensure(found, _tell)
        except EnvironmentFailed as error:
            whole = False
            log.warning("the environment '%s' cannot be built:\n%s", name, error.failure.text)
        else:
            log.info("the environment '%s' is %s", name, environment.manifest.environment_id)
    made.compile_bytecode()
    return whole


def _tell(
    phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
) -> None:
    if message.strip():
        far = f" ({done} of {total})" if total else ""
        log.info("%s: %s%s", phase, message.strip(), far)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; 1 when something could not be."""
    parser = argparse.ArgumentParser(description="Build the shared environments ahead.")
    parser.add_argument("--data", required=True, help="the data directory")
    parser.add_argument("--end", action="store_true", help="end what is being built instead")
    given = parser.parse_args(arguments)
    setproctitle.setproctitle("element: environments")
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s"
    )
    os.nice(_NICENESS)
    try:
        settings = config.load(data_dir=given.data)
        if given.end:
            if (made := environments(settings)) is not None:
                made.end_builds()
            return 0
        return 0 if build_all(settings) else 1
    except ElementError as error:
        log.error("%s %s", error.message, error.hint)  # noqa: TRY400 - a sentence for a person
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
