"""C{openclaw quickstart}: from nothing to a running gateway, and later just the running gateway."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openclaw.cli.collector import resume
from openclaw.cli.output import State, advice, announce
from openclaw.errors import StartError

if TYPE_CHECKING:
    from openclaw.config.schema import Config

CONFIG_TEMPLATE = """\
// The configuration of the OpenClaw Gateway. JSON5: comments and trailing commas are welcome.
// `openclaw config validate` checks it; docs/configuration.md has all keys.
{
  gateway: {
    mode: "local",
    port: 18789,
    // Only this machine can connect. See docs/configuration.md before you change this.
    bind: "loopback",
    auth: {
      mode: "token",
      // Whoever has this token may do everything. `openclaw gateway auth-token --show` prints it.
      token: "%(token)s",
    },
    http: {
      endpoints: {
        // POST /v1/chat/completions and GET /v1/models
        chatCompletions: { enabled: true },
      },
    },
  },
  agents: {
    defaults: {
      // provider/model. `local` is the embedded model; add others under models.providers, for example
      //   models: { providers: { openai: { baseUrl: "https://api.openai.com/v1", apiKey: "${OPENAI_API_KEY}" } } }
      model: { primary: "local/smollm2-135m" },
    },
    entries: {
      main: {},
    },
  },
}
"""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port in place of gateway.port.")
@click.pass_obj
def quickstart(state: State, port: int | None) -> int:
    """Set up what is missing (a configuration, the embedded model) and run the gateway in the foreground.

    A configuration that is there is never touched.
    """
    from openclaw.config.paths import ensure_state_dir
    from openclaw.config.plan import Options, plan

    ensure_state_dir(state.paths)
    if write_config(state.paths.config_path):
        click.echo(f"wrote {state.paths.config_path}")
    planned = plan(state.paths, os.environ, Options(port=port))
    prepare_model(state, planned.config)

    from openclaw.log import begin_logging
    from openclaw.service.foreground import run_foreground

    resume()
    begin_logging(sys.stderr, state.level("warn"))
    command = own_command(sys.argv[0], state.profile, os.environ)
    return run_foreground(planned, lambda url: announce(invitation(url, planned.config, command)))


def write_config(path: Path) -> bool:
    """
    Write a first configuration with a random token, readable by its owner only, unless there is something.

    @return: whether it was written.
    @raise StartError: if it cannot be written.
    """
    if os.path.lexists(path):
        return False
    text = advice(CONFIG_TEMPLATE) % {"token": secrets.token_urlsafe(32)}
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                # A link, unlike a rename, never replaces what somebody else wrote meanwhile.
                os.link(draft, path)
                return True
        finally:
            draft.unlink()
    except OSError as error:
        raise StartError(f"the configuration {path} cannot be written: {error.strerror}") from None
    return False


def prepare_model(state: State, config: Config) -> None:
    """
    Fetch the embedded model's weights if an agent uses it and they are not there.

    @raise StartError: if they cannot be had, or what runs them is not installed.
    """
    from openclaw.cli.models.group import fetch_weights
    from openclaw.config.reload_rules import needs_local_model
    from openclaw.providers.local_spawn import library_installed
    from openclaw.providers.weights import locate

    if not needs_local_model(config):
        return
    if not library_installed():
        raise StartError("the embedded model is not installed: pip install 'openclaw[local]'")
    local = config.models.local
    if local.path is not None:
        locate(state.paths.models_dir, local.model, Path(local.path))
        return
    try:
        locate(state.paths.models_dir, local.model, None)
    except StartError:
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
    """
    What to do next, as lines that can be pasted.

    @param command: see L{own_command}.
    """
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
