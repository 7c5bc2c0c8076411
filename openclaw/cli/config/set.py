"""C{openclaw config set}: one value or several, checked, with comments kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from openclaw.cli.config.document import parse_path
from openclaw.cli.config.editing import apply, dry_run_option, report
from openclaw.cli.given import read_json, read_json5, read_text
from openclaw.cli.options import gathered
from openclaw.cli.output import State, json_option, print_json
from openclaw.config.environment import is_env_reference
from openclaw.errors import OpenClawError

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Largest file of C{--batch-file}, bytes."""

MAX_OPERATIONS = 10_000
"""Most values of one batch."""


@attrs.frozen
class Operation:
    """
    One value to set.

    @ivar path: its place as it was written.
    @ivar mode: how the value was given: C{json}, or C{value} for plain text.
    """

    path: str
    value: Any = attrs.field(repr=False)
    mode: str


@attrs.frozen
class Source:
    """
    Where the values are, as the command line says it: one with its path, or a batch.

    @ivar strict_json: C{value} is JSON; without this it is JSON5, else plain text.
    """

    path: str | None
    value: str | None = attrs.field(repr=False)
    strict_json: bool
    batch_json: str | None = attrs.field(repr=False)
    batch_file: Path | None


@attrs.frozen
class Conditions:
    """
    How to set.

    @ivar merge: merge objects into what is there.
    @ivar replace: entries of guarded objects may be removed.
    @ivar expected: JSON text that the current value must equal, or C{None}.
    @ivar expect_absent: there must be no current value.
    """

    merge: bool = False
    replace: bool = False
    expected: str | None = None
    expect_absent: bool = False


@click.command("set")
@click.argument("path", required=False)
@click.argument("value", required=False)
@click.option("--strict-json", is_flag=True, help="VALUE is JSON; without this it is JSON5, else plain text.")
@click.option("--merge", is_flag=True, help="Merge objects into what is there.")
@click.option("--replace", is_flag=True, help="Entries of agents, providers and models may be removed.")
@dry_run_option
@click.option("--expect-current-json", "expected", metavar="JSON", help="Only if this is the current value.")
@click.option("--expect-current-absent", "expect_absent", is_flag=True, help="Only if there is no value yet.")
@click.option("--batch-json", metavar="JSON", help='Several: [{"path": "gateway.port", "value": 18790}, ...]')
@click.option("--batch-file", type=click.Path(path_type=Path), help="The same from a file.")
@gathered("source", Source)
@gathered("conditions", Conditions)
@json_option
@click.pass_obj
def set_value(state: State, source: Source, conditions: Conditions, dry_run: bool) -> int:
    """Set a value of the configuration file; comments stay.

    PATH is like gateway.port, agents.list[0].id or models.providers["a.b"].api. VALUE is JSON5, else plain text.
    The whole result is checked first: nothing is written that the gateway could not start with.
    """
    if conditions.merge and conditions.replace:
        raise click.UsageError("--merge and --replace exclude each other")
    if conditions.expected is not None and conditions.expect_absent:
        raise click.UsageError("--expect-current-json and --expect-current-absent exclude each other")
    operations = _operations(source)
    if len(operations) > 1 and (conditions.expected is not None or conditions.expect_absent):
        raise click.UsageError("--expect-current-json and --expect-current-absent go with one value")
    return _set(state, operations, conditions, dry_run)


def _operations(source: Source) -> tuple[Operation, ...]:
    """What is to be set, from the one or the other form of the command."""
    path, value = source.path, source.value
    sources = [path is not None, source.batch_json is not None, source.batch_file is not None]
    if sum(sources) != 1 or (path is not None) != (value is not None):
        raise click.UsageError("give PATH and VALUE, or --batch-json, or --batch-file")
    if path is not None and value is not None:
        return (Operation(path, read_json(value, "VALUE"), "json") if source.strict_json else _lenient(path, value),)
    if source.batch_json is not None:
        return _batch(read_json(source.batch_json, "--batch-json"), "--batch-json")
    assert source.batch_file is not None
    text = read_text(source.batch_file, f"--batch-file: {source.batch_file}", MAX_BATCH_BYTES)
    return _batch(read_json(text, "--batch-file"), "--batch-file")


def _lenient(path: str, text: str) -> Operation:
    """A value as people type it: JSON5 where it is that, else the text itself."""
    try:
        return Operation(path, read_json5(text, "VALUE"), "json")
    except OpenClawError:
        return Operation(path, text, "value")


def _batch(items: Any, name: str) -> tuple[Operation, ...]:
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_OPERATIONS:
        raise OpenClawError(f"{name}: expected a list of 1 to {MAX_OPERATIONS} objects with path and value")
    operations = []
    for place, item in enumerate(items):
        if not isinstance(item, dict) or item.keys() != {"path", "value"} or not isinstance(item["path"], str):
            raise OpenClawError(f"{name}: [{place}]: expected an object with path (a text) and value, and no more")
        operations.append(Operation(item["path"], item["value"], "json"))
    return tuple(operations)


def _set(state: State, operations: Sequence[Operation], conditions: Conditions, dry_run: bool) -> int:
    names = ", ".join(operation.path for operation in operations)
    what = f"set {names}" if len(operations) <= 5 else f"set {len(operations)} values"
    told: dict[str, Any] = {
        "operations": len(operations),
        "configPath": str(state.paths.config_path),
        "inputModes": sorted({operation.mode for operation in operations}),
    }
    try:
        edit = apply(
            state,
            lambda document: changed(document, operations, conditions),
            dry_run=dry_run,
            may_shrink=conditions.replace,
        )
    except OpenClawError as error:
        if not (dry_run and state.as_json):
            raise
        print_json({"ok": False, **told, **_checks(0), "errors": [{"kind": "schema", "message": error.message}]})
        return 1
    if dry_run and state.as_json:
        from openclaw.config.load import read_dotenv

        # what the gateway would have in its environment, as far as it is known here
        environ = {**edit.config.env.values(), **read_dotenv(state.paths.state_dir / ".env")[0], **os.environ}
        references = [name for operation in operations for name in _referenced(operation.value)]
        errors = [
            {"kind": "resolvability", "message": f"environment variable not set: {name}", "ref": f"env:{name}"}
            for name in dict.fromkeys(references)
            if not environ.get(name)
        ]
        faults = {"errors": errors} if errors else {}
        print_json({"ok": not errors, **told, **_checks(len(references)), **faults})
        return 1 if errors else 0
    report(state, edit, what, **told)
    return 0


def _checks(references: int) -> dict[str, Any]:
    checks = {"schema": True, "resolvability": True, "resolvabilityComplete": True}
    return {"checks": checks, "refsChecked": references, "skippedExecRefs": 0}


def changed(document: Any, operations: Sequence[Operation], conditions: Conditions) -> Any:
    """
    A document with the values set.

    @raise OpenClawError: if a condition does not hold, a path is none, or entries would get lost.
    """
    from openclaw.config.edit_document import ABSENT, lost_entries, value_at, with_value

    for operation in operations:
        steps = parse_path(operation.path)
        current = value_at(document, steps)
        if conditions.expect_absent and current is not ABSENT:
            raise OpenClawError(f"{operation.path}: not changed, as there is a value already")
        if conditions.expected is not None:
            wanted = read_json(conditions.expected, "--expect-current-json")
            if current != wanted:
                raise OpenClawError(f"{operation.path}: not changed, as the current value is another one")
        after = with_value(document, steps, operation.value, merge=conditions.merge)
        lost = [] if conditions.replace else lost_entries(document, after, steps)
        if lost:
            names = ", ".join(lost[:10]) + (", ..." if len(lost) > 10 else "")
            raise OpenClawError(
                f"{operation.path}: this would remove {names}; add --merge to keep what is there, "
                "--replace if it is meant"
            )
        document = after
    return document


def _referenced(value: Any) -> Iterator[str]:
    """The variables of the secret references in a value."""
    if isinstance(value, dict) and is_env_reference(value):
        yield str(value["id"])
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _referenced(item)
