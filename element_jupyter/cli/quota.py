"""`element quota`: what one may use, asking for more, and the quotas that administrators manage."""

from __future__ import annotations

import sys
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from element_jupyter.cli.follow import clean
from element_jupyter.cli.output import DataOption, JsonOption, Output, ago, table
from element_jupyter.cli.quota_files import read, written
from element_jupyter.core.errors import Invalid, NotFound, Unavailable
from element_jupyter.core.quotas.rules import Kind, Quotas
from element_jupyter.platform.client import Local, connect

app = typer.Typer(no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why, for the history.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, change nothing.")]
Answer = Annotated[str, typer.Option(help="A word to whoever has asked.")]
RequestId = Annotated[int, typer.Argument(metavar="ID", help="The request.", show_default=False)]


@app.callback()
def quota() -> None:
    """Show limits, ask for more, and manage the quotas."""


@app.command()
def show(
    team: Annotated[str | None, typer.Option(help="For this team; else for your own.")] = None,
    person: Annotated[
        str | None, typer.Option(help="Of this person, for administrators and leads.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which limits count, and how much of each is used."""
    output = Output(as_json=as_json)
    local = connect(data)
    if person is None:
        said = local.service.get("quota", team=team)
        output.result(said, *_limits(said["limits"]), Text(said["rule"], style="dim"))
        return
    pages = local.service.pages("quota", "people", team=team, search=person, limit=200)
    everybody = (each for page in pages for each in page["items"])
    found = next((each for each in everybody if each["person"] == person), None)
    if found is None:
        raise NotFound(f"There is no '{person}' among those whom you may see.")
    teams = ", ".join(f"{name} ({level})" for name, level in sorted(found["teams"].items()))
    output.result(found, Text(f"{person}: {teams}" if teams else person), *_limits(found["limits"]))


def _limits(limits: list[dict[str, Any]]) -> list[Any]:
    if not limits:
        return ["No limit counts here: whatever the machines have may be used."]
    headings = ("Limit", "Used", "Comes from")
    rows = [
        (
            clean(each["sentence"]),
            "" if each["used"] is None else _share(each["used"], each["limit"]),
            clean(each.get("comes_from", each["subject"])),
        )
        for each in limits
    ]
    return [table(headings, rows)]


def _share(used: float, limit: float) -> str:
    return f"{used / limit:.0%}" if limit else "100%" if used else "0%"


# ----------------------------------------------------------------------------------- the quotas


@app.command()
def export(
    file: Annotated[
        Path | None, typer.Option("-o", "--output", help="Into this file, not to the terminal.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="A past version.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write down the quotas that count, as quotas.yaml says them."""
    output = Output(as_json=as_json)
    said = connect(data).service.get("quotas", version=version)
    if as_json:
        output.result(said)
        return
    text = written(Quotas.model_validate(said["quotas"]))
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}.") from error
    output.note(f"Version {said['version']} is in {file}.")


@app.command()
def apply(
    file: Annotated[Path, typer.Option("-f", "--file", help="A quotas.yaml, or - for input.")],
    dry_run: DryRun = False,
    reason: Reason = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make what a file says count; from then on the platform's own quotas.yaml does not."""
    output = Output(as_json=as_json)
    document = read(file)
    local = connect(data)
    now = local.service.get("quotas")
    said = local.service.put(
        "quotas",
        body=document.model_dump(mode="json"),
        version=now["version"],
        by="apply",
        reason=reason or None,
        dry_run="true" if dry_run else None,
    )
    if dry_run:
        _effects(output, said)
    else:
        _changed(output, local, now, said)


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who has changed the quotas, when, and how, the newest first."""
    output = Output(as_json=as_json)
    pages = connect(data).service.pages("quotas", "history")
    found = list(islice((each for page in pages for each in page["items"]), limit))
    rows = [
        (
            str(each["version"]),
            clean(each["by"]),
            ago(each["at"]),
            clean("\n".join([*each["changes"], *filter(None, [each["reason"]])])),
        )
        for each in found
    ]
    headings = ("Version", "By", "When", "What")
    output.result({"items": found}, table(headings, rows) if rows else "There is no version yet.")


@app.command()
def undo(
    version: Annotated[int, typer.Argument(help="The version to go back to.", show_default=False)],
    dry_run: DryRun = False,
    reason: Reason = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to a version of the quotas, as a new one."""
    output = Output(as_json=as_json)
    local = connect(data)
    now = local.service.get("quotas")
    body = {"version": version, "reason": reason}
    if dry_run:
        _effects(output, local.service.post("quotas", "undo", body=body, dry_run="true"))
    else:
        _changed(output, local, now, local.service.post("quotas", "undo", body=body, by="apply"))


def _effects(output: Output, said: dict[str, Any]) -> None:
    lines = said["changes"] or ["Nothing would change."]
    affected = [each["sentence"] for each in said["affected"]]
    over = [each["sentence"] for each in said["over"]]
    rest = [said["sentence"], *over] if said["changes"] else []
    output.result(said, *(clean(each) for each in (*lines, *affected, *rest)))


def _changed(output: Output, local: Local, before: dict[str, Any], after: dict[str, Any]) -> None:
    if before["version"] == after["version"]:
        output.result(after, f"Nothing to change: version {after['version']} says the same.")
        return
    said = local.service.get("quotas", "history", limit=1)["items"][0]
    changes = said["changes"] if said["version"] == after["version"] else []
    output.result(after, *map(clean, changes), f"Version {after['version']} counts now.")
    if before["source"] == "file":
        output.note("quotas.yaml does not count any more; `element quota export` writes one.")


# ------------------------------------------------------------------------------ asking for more


@app.command()
def request(  # noqa: PLR0917 - options have names
    until: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day.", show_default=False)
    ],
    reason: Annotated[str, typer.Option(help="What for.", show_default=False)],
    team: Annotated[str | None, typer.Option(help="For this team; else for your own.")] = None,
    at_once: Annotated[
        str | None, typer.Option(help="cpu, memory_bytes, gpu, servers or runs, as gpu=4.")
    ] = None,
    largest: Annotated[
        str | None, typer.Option(help="cpu, memory_bytes or gpu of one server or run.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="cpu_hours, gib_hours, gpu_hours or money, with --per.")
    ] = None,
    per: Annotated[str | None, typer.Option(help="As '7 days' or 'calendar month'.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for more than you may have, for a while."""
    output = Output(as_json=as_json)
    given = {Kind.AT_ONCE: at_once, Kind.LARGEST: largest, Kind.BUDGET: budget}
    chosen = [(kind, text) for kind, text in given.items() if text is not None]
    if len(chosen) != 1:
        raise Invalid("It must be one of --at-once, --largest and --budget.", "As --at-once gpu=4.")
    [(kind, text)] = chosen
    resource, _, amount = text.partition("=")
    local = connect(data)
    body = {
        "team": team or local.team,
        "kind": kind,
        "resource": resource.strip(),
        "amount": amount.strip(),
        "per": per,
        "until": str(until.date()),
        "reason": reason,
    }
    said = local.service.post("quota", "requests", body=body)
    output.result(said, clean(said["sentence"]), f"It is request {said['id']}.")


@app.command()
def requests(
    state: Annotated[
        str | None, typer.Option(help="Only those that are open, approved or declined.")
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was asked for: by you, and for the teams that you lead."""
    output = Output(as_json=as_json)
    service = connect(data).service
    flag = "true" if mine else None
    found = list(service.items("quota", "requests", at_most=limit, state=state, mine=flag))
    rows = [
        (
            str(each["id"]),
            each["state"],
            clean(each["sentence"]),
            ago(each["at"]),
            clean(each["reason"]),
        )
        for each in found
    ]
    headings = ("Request", "State", "What", "When", "Why")
    output.result({"items": found}, table(headings, rows) if rows else "Nothing was asked for.")


@app.command()
def approve(
    request_id: RequestId,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="In every team, by an administrator.")
    ] = False,
    answer: Answer = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grant what was asked, until its last day."""
    output = Output(as_json=as_json)
    body = {"answer": answer} | ({"to": "person"} if everywhere else {})
    said = connect(data).service.post("quota", "requests", str(request_id), "approve", body=body)
    output.result(said, f"{said['granted_to']} has it; version {said['version']} counts now.")


@app.command()
def decline(
    request_id: RequestId,
    answer: Answer = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse what was asked."""
    output = Output(as_json=as_json)
    body = {"answer": answer}
    said = connect(data).service.post("quota", "requests", str(request_id), "decline", body=body)
    output.result(said, f"Request {said['id']} of {said['person']} is declined.")
