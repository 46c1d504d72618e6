"""`element schema`: what the files may say, for editors and people."""

from __future__ import annotations

import typer

from element_jupyter.cli.output import JsonOption, print_json

app = typer.Typer(no_args_is_help=True)


@app.callback()
def schema() -> None:
    """Print the schema of the files."""


@app.command()
def job(as_json: JsonOption = False) -> None:
    """Print the JSON Schema of job.yaml."""
    from element_jupyter.core.job_files import job_schema

    del as_json  # it is JSON either way
    print_json(job_schema())
