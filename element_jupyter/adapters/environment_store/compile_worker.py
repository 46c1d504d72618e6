"""Compiles modules into the byte-code pool. Run by an environment's own Python, 3.9 or later.

`python -I -S compile_worker.py POOL` reads lines of JSON `[source, shown path, key, sha256]` and
writes for each the name in the pool, or `-` when the module cannot be compiled. The byte-code is
of the kind that Python does not compare with its source (PEP 552), and says nothing about where
the environment is, so that it serves every environment with the same file.
"""

# a process that only does this, for any Python
# ruff: noqa: PTH103, PTH108, PTH118, PTH120, PTH123, T201

import contextlib
import hashlib
import importlib.util
import json
import marshal
import os
import sys
import warnings

UNCHECKED_HASH = (0b01).to_bytes(4, "little")


def bytecode(content: bytes, shown: str) -> bytes:
    """Return the byte-code of a module as Python wants it in a file."""
    code = compile(content, shown, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(content)
    return head + marshal.dumps(code)


def put(pool: str, key: str, content: bytes) -> str:
    """Have byte-code in the pool, whole or not at all; return its name there."""
    name = f"{key[:2]}/{key}-{hashlib.sha256(content).hexdigest()}"
    final = os.path.join(pool, name)
    directory = os.path.dirname(final)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    temporary = os.path.join(directory, f".{os.getpid()}-{key}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # a dead process's with our number
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o444)
            file.write(content)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, final)
    finally:
        os.unlink(temporary)
    return name


def main() -> None:
    """Do what the lines on standard input ask for."""
    pool = sys.argv[1]
    os.nice(10)
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        source, shown, key, sha256 = json.loads(line)
        with open(source, "rb") as file:
            content = file.read()
        name = "-"
        # a file that was changed must not reach other environments through the pool
        if hashlib.sha256(content).hexdigest() == sha256:
            # tests of some packages are not meant to compile, or only by another Python
            with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                name = put(pool, key, bytecode(content, shown))
        try:
            print(name, flush=True)
        except BrokenPipeError:  # who asked for it has died
            os._exit(1)


if __name__ == "__main__":
    main()
