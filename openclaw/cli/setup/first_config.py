"""The first configuration file, as C{openclaw quickstart} writes it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from openclaw.cli.files import whole_file
from openclaw.cli.output import advice
from openclaw.config.gateway import DEFAULT_PORT
from openclaw.errors import StartError

CONFIG_TEMPLATE = """\
// The configuration of the OpenClaw Gateway. JSON5: comments and trailing commas are welcome.
// `openclaw config validate` checks it; docs/configuration.md has all keys.
{
  gateway: {
    mode: "local",
    port: %(port)d,
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


def write_config(path: Path, port: int = DEFAULT_PORT) -> bool:
    """
    Write a first configuration with a random token, readable by its owner only, unless there is something.

    @param port: where the gateway is to listen.
    @return: whether it was written.
    @raise StartError: if it cannot be written.
    """
    if os.path.lexists(path):
        return False
    text = advice(CONFIG_TEMPLATE) % {"token": secrets.token_urlsafe(32), "port": port}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            with whole_file(path) as file:
                file.write(text.encode())
            return True
    except OSError as error:
        raise StartError(f"the configuration {path} cannot be written: {error.strerror}") from None
    return False
