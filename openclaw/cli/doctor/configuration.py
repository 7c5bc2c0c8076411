"""What C{openclaw doctor} looks for in the configuration: credentials, who can connect, models."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openclaw.agents.resolve import agent_model_ref
from openclaw.cli.doctor.findings import Finding, Severity, Surroundings, real
from openclaw.cli.setup.first_config import write_config
from openclaw.config.auth_mode import bind_host, effective_auth
from openclaw.config.edit import edit_config, is_read_only
from openclaw.config.edit_document import with_value
from openclaw.config.gateway import is_loopback_host
from openclaw.config.known import without_unused
from openclaw.config.listen import listening_of
from openclaw.config.proxies import faults_of_environ
from openclaw.errors import ConfigError, ProviderError, StartError
from openclaw.installation import install_command
from openclaw.providers.local_spawn import library_installed
from openclaw.providers.weights import locate
from openclaw.redact import shows_credential

MIN_SECRET_LENGTH = 16
"""A shorter token or password can be guessed."""

_WORDS = ("password", "secret", "changeme", "change-me", "token", "test", "admin", "openclaw", "your-")
"""What a secret that nobody made up begins with."""

_RANDOM = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}")
"""What a name is not: long, with letters and digits, and nothing that parts words."""

_MAKE_TOKEN = "openclaw doctor --generate-gateway-token"
_TO_TOKEN = (
    'openclaw config set gateway.auth.token "$(openssl rand -base64 32)", '
    "then openclaw config set gateway.auth.mode token"
)


def config_valid(at: Surroundings) -> Iterator[Finding]:
    """The file can be read and used."""
    path = at.paths.config_path
    if at.problem is not None:
        copy = real(path).with_name(f"{real(path).name}.bak")
        hint = "correct it, then run: openclaw config validate"
        if os.path.isfile(copy):  # noqa: PTH113 -- false, and no error, where the folder is closed to us
            hint += f"; the copy before the last change by a command is {copy}"
        for problem in at.problem.problems:
            yield Finding("error", problem, hint, str(path))
    elif at.loaded is not None and not at.loaded.exists:
        yield Finding("info", f"there is no {path}; the defaults apply", "openclaw onboard", str(path))


def unused_settings(at: Surroundings) -> Iterator[Finding]:
    """Settings of the original that nothing here uses."""
    names = without_unused(at.document)[1] if isinstance(at.document, dict) else []
    if names:
        hint = "nothing breaks; to be rid of one: openclaw config unset KEY"
        yield Finding("info", f"these settings are accepted and not used: {', '.join(names)}", hint)


def variables_set(at: Surroundings) -> Iterator[Finding]:
    """The environment variables that the file names are set."""
    assert at.loaded is not None
    for warning in at.loaded.warnings:
        if ": environment variable" in warning:
            key, _, text = warning.partition(": ")
            hint = f"set it in the environment of the gateway, or in {at.paths.state_dir / '.env'}"
            yield Finding("warning", text, hint, key)


def credential(at: Surroundings) -> Iterator[Finding]:
    """There is a credential, and it cannot be guessed."""
    assert at.loaded is not None
    try:
        auth = effective_auth(at.config, at.loaded.environ)
    except (ConfigError, StartError) as error:
        yield Finding("error", error.message, _credential_hint(at, error.message), "gateway.auth")
        return
    if auth.secret is None:
        yield Finding(
            "warning",
            'gateway.auth.mode is "none": every program of every user of this machine may use the agents',
            _TO_TOKEN,
            "gateway.auth.mode",
        )
        return
    secret = auth.secret.reveal()
    if len(secret) < MIN_SECRET_LENGTH or secret.lower().startswith(_WORDS) or len(set(secret)) < 6:
        message = f"the {auth.mode} is easy to guess: it is short, or a word"
        if auth.secret.literal:
            hint = _new_secret_hint(auth.mode)
        else:
            hint = "make another one for the environment: openssl rand -base64 32"
        yield Finding("warning", message, hint, f"gateway.auth.{auth.mode}")


def _credential_hint(at: Surroundings, problem: str) -> str:
    """What to do where there is no credential, or none that can be used."""
    auth = at.config.gateway.auth
    given = {"token": auth.token, "password": auth.password}
    if problem.startswith("no credential"):
        meant = [secret for mode, secret in given.items() if secret is not None and auth.mode in (None, mode)]
        missing = [name for secret in meant for name in secret.missing]
        if missing:
            return f"set {', '.join(missing)} in the environment of the gateway, or in {at.paths.state_dir / '.env'}"
        return _TO_TOKEN if auth.mode == "password" else _MAKE_TOKEN
    name, _, is_unsendable = problem.partition(" holds ")
    if not is_unsendable:
        return "openclaw config set gateway.auth.mode token" if auth.mode is None else _TO_TOKEN
    mode = name.rpartition(".")[2]
    if mode in given and (secret := given[mode]) is not None and secret.literal:
        return _new_secret_hint(mode)
    return "make another one for the environment: openssl rand -base64 32"


def _new_secret_hint(mode: str) -> str:
    """How to replace a secret of the configuration."""
    return f'openclaw config set gateway.auth.{mode} "$(openssl rand -base64 32)"'


def make_credential(at: Surroundings) -> Iterator[str]:
    """Give the gateway a random token if it has no credential."""
    assert at.loaded is not None
    try:
        effective_auth(at.config, at.loaded.environ)
        return
    except (ConfigError, StartError) as error:
        if not error.message.startswith("no credential"):
            return  # something is set, and a person has to decide about it
    auth = at.config.gateway.auth
    given = [auth.token] if auth.mode == "token" else [auth.token, auth.password]
    if auth.mode == "password" or any(secret.missing or secret.reference for secret in given if secret is not None):
        return  # it is to come from the environment
    if not at.loaded.exists and not is_read_only(at.environ):
        # a file with nothing but a token would keep quickstart from writing a whole one
        write_config(at.paths.config_path)
        yield f"wrote {at.paths.config_path} with a random token"
        return

    def change(document: Any) -> Any:
        document = with_value(document, ("gateway", "auth", "mode"), "token")
        return with_value(document, ("gateway", "auth", "token"), secrets.token_urlsafe(32))

    edit_config(at.paths.config_path, change, at.environ, at.paths.state_dir)
    yield f"made a random token: gateway.auth.token in {at.paths.config_path}"


def bind(at: Surroundings) -> Iterator[Finding]:
    """Who can reach the port."""
    key = "gateway.bind"
    try:
        host = bind_host(at.config)
    except StartError as error:
        yield Finding("error", error.message, "openclaw config set gateway.bind loopback", key)
        return
    if not listening_of(at.config, at.config.gateway.port).on_loopback_bind:
        yield Finding(
            "warning",
            f"the gateway listens at {host}, which other machines can reach, and speaks plain HTTP",
            "put a proxy with TLS in front, or: openclaw config set gateway.bind loopback",
            key,
        )
    if not at.config.gateway.http.endpoints.chat_completions.enabled:
        key = "gateway.http.endpoints.chatCompletions.enabled"
        yield Finding(
            "info", "OpenAI clients are not served: the endpoint is off", f"openclaw config set {key} true", key
        )


def plaintext_secrets(at: Surroundings) -> Iterator[Finding]:
    """Secrets that stand in the file itself."""
    literal = [key for key, secret in at.config.secrets() if secret.literal]
    if literal:
        # the gateway's own token has to be somewhere, and a keys' file of mode 0600 is a fair place
        severity: Severity = "info" if all(key.startswith("gateway.auth.") for key in literal) else "warning"
        yield Finding(
            severity,
            f"the configuration holds secrets in plain text: {', '.join(literal)}",
            f"move them to {at.paths.state_dir / '.env'} and write ${{NAME}} in their place",
            str(at.paths.config_path),
        )


def providers(at: Surroundings) -> Iterator[Finding]:
    """Model servers that get a key in the clear, or in their URL, where nobody can tell that it is one."""
    for name, provider in at.config.models.providers.items():
        parts, key = urlsplit(provider.base_url), f"models.providers.{name}.baseUrl"
        if parts.scheme == "http" and provider.api_key is not None and not is_loopback_host(parts.hostname or ""):
            yield Finding("warning", f"the key of {name} is sent without encryption", "use an https URL", key)
        if any(shows_credential(step) or _RANDOM.search(step) for step in parts.path.split("/")):
            yield Finding(
                "warning",
                f"the URL of {name} has a part that looks like a key, and what shows or logs a URL may show it",
                f"if it is one, move it to models.providers.{name}.apiKey or headers, which are hidden",
                key,
            )


def ways(at: Surroundings) -> Iterator[Finding]:
    """Proxies and authorities that cannot be used."""
    from openclaw.providers.trust import TLSFault  # OpenSSL, which nothing else here needs
    from openclaw.providers.ways import way_of

    assert at.loaded is not None
    place = f"the environment of the gateway, or {at.paths.state_dir / '.env'}"
    for fault in faults_of_environ(at.loaded.environ):
        yield Finding("error", fault, f"correct it in {place}", fault.partition(":")[0])
    for name, provider in at.config.models.providers.items():
        try:
            way = way_of(name, provider, at.loaded.environ)
        except ProviderError:
            continue  # told above, or as a variable that is not set
        for trust in dict.fromkeys((way.trust, way.proxy_trust)):
            try:
                trust.make_context()
            except TLSFault as error:
                yield Finding("error", f"{name}: {error.reason}", "correct it, or take it out", trust.source or None)


def agents_models(at: Surroundings) -> Iterator[Finding]:
    """Agents whose model nothing here serves."""
    for key, reason in at.config.foreign_models():
        agent = key.split(".")[2] if key.startswith("agents.entries.") else None
        which = f" --agent {agent}" if agent else ""
        yield Finding("warning", reason, f"openclaw models set PROVIDER/MODEL{which}", key)


def embedded_model(at: Surroundings) -> Iterator[Finding]:
    """What the embedded model needs is there, where an agent uses it."""
    config, local = at.config, at.config.models.local
    if config.models.local_ref not in {agent_model_ref(config, one) for one in config.agents.agent_ids}:
        return
    if not library_installed():
        yield Finding("error", "the embedded model is not installed", install_command("local"))
    try:
        locate(at.paths.models_dir, local.model, Path(local.path) if local.path is not None else None)
    except StartError as error:
        hint = "openclaw config unset models.local.path" if local.path else f"openclaw models pull {local.model}"
        yield Finding("error", error.message, hint, "models.local")
