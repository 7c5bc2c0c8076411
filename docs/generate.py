"""
The generated pages of the documentation: commands, configuration keys, methods and metrics.

They are made of what the program itself knows, and committed::

    python docs/generate.py            # write them
    python docs/generate.py --check    # exit 1 if one is not what it would be

They hold no path, no date, and nothing that depends on the terminal, so that the same program gives the same pages.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import click
import msgspec

HERE = Path(__file__).resolve().parent
for folder in (str(HERE), str(HERE.parent)):
    if folder not in sys.path:
        sys.path.insert(0, folder)

import meanings  # noqa: E402 - only now are it and the package sure to be found

from openclaw.cli.main import cli  # noqa: E402
from openclaw.config.json_schema import Setting, settings  # noqa: E402
from openclaw.config.known import UNUSED  # noqa: E402
from openclaw.config.reload_rules import effect_of  # noqa: E402
from openclaw.errors import EXIT_CONFIG  # noqa: E402
from openclaw.methods.table import Method, MethodTable  # noqa: E402
from openclaw.metrics import Metrics  # noqa: E402
from openclaw.service.compose import make_methods  # noqa: E402

GENERATED = HERE / "generated"
"""Where the pages are."""

NOTE = "% Made by docs/generate.py; edits are lost.\n"
"""The first line of each page, a comment."""

OWN_KEYS = (
    "agents.defaults.maxQueued",
    "agents.entries.*.timeoutSeconds",
    "agents.list.*.timeoutSeconds",
    "gateway.http.cors",
    "gateway.http.endpoints.chatCompletions.reasoning",
    "gateway.metrics",
    "gateway.shutdownDrainMs",
    "models.local",
    "models.providers.*.apiKeys",
    "models.providers.*.models.*.compat.thinkTags",
    "models.providers.*.models.*.sendSessionId",
    "models.providers.*.sendSessionId",
    "models.providers.*.maxConcurrent",
    "models.providers.*.maxWaitSeconds",
)
"""The keys that the original does not have; each with what is below it."""

EFFECTS = {"hot": "at once", "restart": "restart", "none": "when used"}
"""When an edit of a key applies."""

EXIT_STATUSES = f"""\
| status | when |
|---|---|
| 0 | done |
| 1 | an error, which is told in one line on standard error; with `--json` also as an object on standard output |
| 2 | the command line itself is wrong |
| {EXIT_CONFIG} | the configuration cannot be used, so that starting again is of no use |
| 130, 143 | ended by Ctrl-C or by SIGTERM; `openclaw gateway run` itself ends with 0 |
"""


# -------------------------------------------------------------------------------------- markdown


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; cells may hold markup but no line breaks."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "".join("|" + "|".join(f" {_cell(text)} " for text in line) + "|\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """A text of the program as text of a page: nothing in it is markup."""
    text = re.sub(r"([\\`*_{}\[\]<>$])", r"\\\1", text)
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]*)", r"`\1`", text)


def code(text: object) -> str:
    """A name or a value."""
    return f"`{text}`"


# -------------------------------------------------------------------------------------- commands


def commands_page(root: click.Command = cli, name: str = "openclaw") -> str:
    """Every command with its arguments and options."""
    # with its settings, as click remembers the help option of a group from the first context that asks for it
    ctx = click.Context(root, info_name=name, **root.context_settings)
    parts = [
        NOTE,
        "# Command reference\n",
        "Options of `openclaw` itself stand before the command:\n",
        _options(root),
        "Most commands have `--json`. A failure is then "
        '`{"ok": false, "error": {"type": "…", "message": "…"}}` on standard output, and the status is 1.\n',
        "Exit status:\n",
        EXIT_STATUSES,
    ]
    parts += [_command(path, command) for path, command in walk(root, ctx)]
    return "\n".join(parts)


def walk(group: click.Command, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """All commands below one, each after its group, with their full names."""
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=ctx)
        yield below.command_path, command
        yield from walk(command, below)


def _command(path: str, command: click.Command) -> str:
    depth = "#" * min(len(path.split()), 3)
    usage = " ".join([path, *_usage(command)])
    told = [plain(" ".join(paragraph.split())) for paragraph in (command.help or "").split("\n\n")]
    epilog = re.split(r"(?<! ) {2}(?! )", command.epilog or "")
    if command.epilog:
        told.append("\n".join(["```text", *epilog, "```"]))
    rows = _options(command)
    return "\n".join([f"{depth} {path}\n", f"```text\n{usage}\n```\n", *(f"{text}\n" for text in told), rows])


def _usage(command: click.Command) -> Iterator[str]:
    """What follows the name of a command.  Click has it, too, but changes its form from version to version."""
    yield "[OPTIONS]"
    for param in command.params:
        if isinstance(param, click.Argument):
            name = _value_name(param, "{}")
            yield name if param.required else f"[{name}]"
    if isinstance(command, click.Group):
        yield "[COMMAND]" if command.invoke_without_command else "COMMAND"
        yield "[ARGS]..."


def _options(command: click.Command) -> str:
    rows = []
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            names = ", ".join(param.opts)
            if param.secondary_opts:
                names += f" / {', '.join(param.secondary_opts)}"
            elif not param.is_flag:
                names += f" {_value_name(param, '[]')}"
            rows.append([code(names), " ".join([plain(param.help or ""), *_bounds(param)])])
    return table(["option", "meaning"], rows) if rows else ""


def _value_name(param: click.Parameter, brackets: str) -> str:
    """What stands for the value of a parameter."""
    if param.metavar is not None:
        return param.metavar
    if isinstance(param.type, click.Choice):
        return brackets[0] + "|".join(map(str, param.type.choices)) + brackets[1]
    if isinstance(param, click.Argument):
        return (param.name or "").upper()
    if isinstance(param.type, click.IntRange | click.FloatRange):
        return "NUMBER"
    return "PATH" if isinstance(param.type, click.Path) else "TEXT"


def _bounds(param: click.Option) -> Iterator[str]:
    """The least and the greatest value, and what is taken where none is given."""
    if isinstance(param.type, click.IntRange | click.FloatRange):
        yield f"{param.type.min:.15g} to {param.type.max:.15g}."
    if isinstance(param.show_default, str):
        yield f"Default: {code(param.show_default)}."
    elif param.show_default:
        shown = f"{param.default:g}" if isinstance(param.default, float) else param.default
        yield f"Default: {code(shown)}."


# ----------------------------------------------------------------------------------- configuration


def keys_page() -> str:
    """Every key of the configuration, and the names that are accepted and not used."""
    rows = [_key_row(setting) for setting in settings()]
    unused = [
        [code(place) if place else "the file itself", ", ".join(code(name) for name in sorted(names))]
        for place, names in sorted(UNUSED.items())
    ]
    return "\n".join(
        [
            NOTE,
            "# Configuration keys\n",
            "`*` stands for a name of your choice, or for each item of a list. An edit of a key applies at once or "
            "after a restart; † marks keys of our own, which the original does not have.\n",
            table(["key", "value", "default", "edit applies", "meaning"], rows),
            "## Accepted and not used\n",
            "These keys of the original are accepted, so that one file serves both; they do nothing here, and the "
            "start names those that a file has in one warning. Any other key is an error.\n",
            table(["in", "keys"], unused),
        ]
    )


def is_own(key: str) -> bool:
    """Whether the original does not have a key."""
    return any(key == own or key.startswith(f"{own}.") for own in OWN_KEYS)


def meaning_of(setting: Setting) -> str:
    """What a key means; empty if nobody says it."""
    return meanings.KEYS.get(setting.key) or setting.description


def _key_row(setting: Setting) -> list[str]:
    default = "" if setting.default is None else code(json.dumps(setting.default))
    return [
        code(setting.key) + (" †" if is_own(setting.key) else ""),
        plain(setting.kind),
        default,
        EFFECTS[effect_of(setting.key)],
        plain(meaning_of(setting)),
    ]


# ------------------------------------------------------------------------------- methods and metrics


def method_table() -> MethodTable:
    """The table of methods of no gateway: good to be read, not to be called."""
    return make_methods(Mock(), Mock(), Mock(), Mock()).table


def methods_page() -> str:
    """Every method that a WebSocket client may call."""
    methods = method_table()
    parts = [
        NOTE,
        "# WebSocket methods\n",
        "Parameters that are not listed are refused. How to connect: [WebSocket protocol](../websocket.md).\n",
    ]
    for name in methods.names:
        method = methods.find(name)
        assert method is not None
        parts.append(_method(method))
    return "\n".join(parts)


def _method(method: Method) -> str:
    scope = f"Needs {code(method.scope)}." if method.scope is not None else "Needs no scope."
    return "\n".join([f"## {method.name}\n", f"{summary_of(method)} {scope}\n", _params(method.params)])


def summary_of(method: Method) -> str:
    """What a method does; empty if nobody says it."""
    told = inspect.cleandoc(getattr(method.run, "__doc__", None) or "").split("\n\n")[0]
    return meanings.METHODS.get(method.name) or _markdown(told)


def _params(params: type[Any]) -> str:
    told = _ivars(params)
    schema = next(iter(msgspec.json.schema_components([params])[1].values()))
    required = schema.get("required", ())
    rows = []
    for field in msgspec.structs.fields(params):
        shape = schema["properties"][field.encode_name]
        default = "required" if field.encode_name in required else ""
        if shape.get("default") is not None:
            default = code(json.dumps(shape["default"]))
        rows.append([code(field.encode_name), _kind(shape), default, _of_parameter(field, told)])
    return table(["parameter", "value", "default", "meaning"], rows) if rows else "No parameters.\n"


def _of_parameter(field: Any, told: Mapping[str, str]) -> str:
    if field.encode_name in ("timeoutMs", "model") or field.name not in told:
        return meanings.PARAMETERS.get(field.encode_name, "")
    return _markdown(told[field.name])


def _kind(shape: Mapping[str, Any]) -> str:
    options = [option for option in shape.get("anyOf", [shape]) if option.get("type") != "null"]
    return " or ".join(_one_kind(option) for option in options)


def _one_kind(shape: Mapping[str, Any]) -> str:
    if "enum" in shape:
        return ", ".join(code(json.dumps(value)) for value in shape["enum"])
    kind = str(shape.get("type", "any"))
    if "minimum" in shape or "maximum" in shape:
        kind += f", {shape.get('minimum', '')} to {shape.get('maximum', '')}"
    if "maxLength" in shape:
        kind += f", at most {shape['maxLength']} characters"
    return kind


def _ivars(cls: type[Any]) -> dict[str, str]:
    """What the docstring of a class says about its fields, as epytext."""
    text = inspect.cleandoc(cls.__doc__ or "")
    found = re.findall(r"^@ivar (\w+):(.*(?:\n[ \t]+.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _markdown(epytext: str) -> str:
    """Epytext as markdown, first letter and full stop as in a sentence."""
    text = " ".join(re.sub(r"[CL]\{(?:[\w.]+\.)?([^{}]*)\}", r"`\1`", epytext).split())
    text = text[:1].upper() + text[1:]
    return text if not text or text.endswith(".") else f"{text}."


def metrics_page() -> str:
    """Every metric."""
    rows = []
    for family in Metrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append([code(name), family.type, plain(family.documentation)])
    return "\n".join(
        [
            NOTE,
            "# Metrics\n",
            "What `GET /metrics` tells. Labels have few values: agents and models that are not configured count as "
            "`other`, and no session and no text is a label.\n",
            table(["metric", "kind", "meaning"], sorted(rows)),
        ]
    )


# ------------------------------------------------------------------------------------------ main


PAGES = {
    "commands.md": commands_page,
    "configuration-keys.md": keys_page,
    "metrics.md": metrics_page,
    "methods.md": methods_page,
}
"""The pages, each with what makes it."""


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    return {name: re.sub(r"\n{3,}", "\n\n", make()).rstrip("\n") + "\n" for name, make in PAGES.items()}


def stale(folder: Path = GENERATED) -> list[str]:
    """The names of the pages in a folder that are not what they would be, or should not be there."""
    wanted = pages()
    present = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in {*wanted, *present} if wanted.get(name) != present.get(name))


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or check them; give the exit status."""
    parser = argparse.ArgumentParser(description="Make the generated pages of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is stale")
    if parser.parse_args(arguments).check:
        names = stale()
        for name in names:
            sys.stderr.write(f"docs/generated/{name} is stale: run python docs/generate.py\n")
        return 1 if names else 0
    GENERATED.mkdir(exist_ok=True)
    for name in stale():
        text = pages().get(name)
        path = GENERATED / name
        if text is None:
            path.unlink()
        else:
            path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    os.environ.pop("COLUMNS", None)
    sys.exit(main())
