"""C{openclaw quickstart}: from nothing to a running gateway, and later just the running gateway."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from openclaw.cli.output import State, announce, resume
from openclaw.cli.setup.first_config import write_config
from openclaw.config.gateway import DEFAULT_PORT
from openclaw.config.paths import ensure_state_dir
from openclaw.config.schema import Config
from openclaw.errors import StartError


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="TCP port in place of gateway.port; a first configuration gets it."
)
@click.pass_obj
def quickstart(state: State, port: int | None) -> int:
    """Set up what is missing (a configuration, the embedded model) and run the gateway in the foreground.

    A configuration that is there is never touched.
    """
    from openclaw.cli.models.pull import check_library
    from openclaw.config.plan import Options, plan

    if not os.path.lexists(state.paths.config_path):
        check_library()  # the first configuration uses the embedded model: without it nothing is begun
    ensure_state_dir(state.paths)
    if write_config(state.paths.config_path, port or DEFAULT_PORT):
        click.echo(f"wrote {state.paths.config_path}")
    planned = plan(state.paths, os.environ, Options(port=port))
    prepare_model(state, planned.config)

    from openclaw.log import begin_logging
    from openclaw.service.foreground import run_foreground

    resume()
    begin_logging(sys.stderr, state.level("warn"))
    command = own_command(sys.argv[0], state.profile, os.environ)
    return run_foreground(planned, lambda url: announce(invitation(url, planned.config, command)))


def prepare_model(state: State, config: Config) -> None:
    """
    Fetch the embedded model's weights if an agent uses it and they are not there.

    @raise StartError: if they cannot be had, or what runs them is not installed.
    """
    from openclaw.cli.models.pull import check_library, fetch_weights
    from openclaw.config.reload_rules import needs_local_model
    from openclaw.providers.weights import locate

    if not needs_local_model(config):
        return
    check_library()
    local = config.models.local
    try:
        locate(state.paths.models_dir, local.model, Path(local.path) if local.path is not None else None)
    except StartError:
        if local.path is not None:
            raise
        click.echo(f"{local.model} is there: {fetch_weights(state, local.model)}")


def own_command(program: str, profile: str | None, environ: Mapping[str, str]) -> str:
    """
    How to call this program from another terminal, for the installation that this one acts on.

    The program's name alone does where the shell finds it without a virtual environment.

    @param program: what this process was called by.
    """
    found = shutil.which("openclaw", path=environ.get("PATH", os.defpath))
    here = shutil.which(program) if Path(program).name == "openclaw" else found
    if here is None or (here == found and sys.prefix == sys.base_prefix):
        words = ["openclaw"]
    else:
        words = [str(Path(here).absolute())]
    if profile is not None:
        words += ["--profile", profile]
    names = ("OPENCLAW_HOME", "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_PROFILE")
    settings = [f"{name}={shlex.quote(environ[name])}" for name in names if environ.get(name)]
    return " ".join([*settings, *map(shlex.quote, words)])


def invitation(url: str, config: Config, command: str) -> str:
    """What to do next, as lines that can be pasted; C{command} is that of L{own_command}."""
    listening = f"openclaw gateway listening at {url} (stop it with Ctrl-C)\n"
    gateway = config.gateway
    if not gateway.http.endpoints.chat_completions.enabled:
        return f"{listening}\nChat completions are off: set gateway.http.endpoints.chatCompletions.enabled to true.\n"
    token = f' -H "Authorization: Bearer $({command} gateway auth-token --show)"' if gateway.auth.mode != "none" else ""
    body = '{"model": "openclaw", "stream": true, "messages": [{"role": "user", "content": "Hello!"}]}'
    return (
        f"{listening}\n"
        "Try it from another terminal:\n\n"
        f"curl -N {url}/v1/chat/completions{token} -H 'Content-Type: application/json' -d '{body}'\n"
    )
