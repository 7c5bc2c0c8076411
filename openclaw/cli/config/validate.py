"""C{openclaw config validate}: whether the configuration can be used."""

from __future__ import annotations

import click

from openclaw.cli.output import State, advice, json_option, print_json
from openclaw.config.describe import describe
from openclaw.errors import ConfigError


@click.command()
@json_option
@click.pass_obj
def validate(state: State) -> int:
    """Check the configuration; exit 1 and name every problem if it cannot be used."""
    path = str(state.paths.config_path)
    try:
        loaded = state.load()
    except ConfigError as error:
        if state.as_json:
            print_json({"valid": False, "path": path, "issues": list(error.problems)})
        else:
            click.echo(describe(error), err=True)
        return 1
    lines = [f"{path}: {'valid' if loaded.exists else 'there is no such file; the defaults apply'}"]
    lines += [f"  warning: {advice(warning)}" for warning in loaded.warnings]
    state.show({"valid": True, "path": path, "warnings": list(loaded.warnings)}, "\n".join(lines))
    return 0
