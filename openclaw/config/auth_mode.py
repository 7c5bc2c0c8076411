"""What follows from C{gateway.bind}, C{gateway.auth} and the environment: where to listen, and for whom."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Literal

import attrs

from openclaw.config.gateway import is_loopback_host
from openclaw.config.schema import Config
from openclaw.config.secret import Secret
from openclaw.errors import EXIT_CONFIG, ConfigError, StartError

SecretMode = Literal["token", "password"]

_VARIABLES: Mapping[SecretMode, str] = {"token": "OPENCLAW_GATEWAY_TOKEN", "password": "OPENCLAW_GATEWAY_PASSWORD"}


@attrs.frozen
class EffectiveAuth:
    """
    How callers prove who they are.

    @ivar secret: what they must know, without blanks around it; C{None} in mode C{none} only.
    """

    mode: Literal["none", "token", "password"]
    secret: Secret | None


def effective_auth(config: Config, environ: Mapping[str, str]) -> EffectiveAuth:
    """
    Decide the mode and the secret.

    A secret of the configuration beats that of the environment.  Without C{gateway.auth.mode} the mode is that of
    the secret which the configuration holds, else of the one which the environment holds.  A blank secret, and one
    that lacks its environment variable, is none; one that is a secret reference never falls back on another.

    @param environ: L{openclaw.config.load.LoadedConfig.environ}.
    @raise ConfigError: if a token and a password are set and no mode.
    @raise StartError: if there is no credential, or one that no client can send, the mode is not available, or mode
        C{none} would be open beyond this machine.
    """
    mode = config.gateway.auth.mode
    if mode == "trusted-proxy":
        raise StartError(
            'gateway.auth.mode "trusted-proxy" is not available yet; use "token", "password" or, on loopback, "none"',
            EXIT_CONFIG,
        )
    if mode == "none":
        if not _binds_loopback(config):
            raise StartError(
                f'gateway.auth.mode "none" needs gateway.bind "loopback", not "{config.gateway.bind}": '
                "set a token or a password",
                EXIT_CONFIG,
            )
        return EffectiveAuth("none", None)
    if mode is None:
        mode = _implied_mode(config, environ)
    return EffectiveAuth(mode, _secret_of(mode, config, environ))


def _implied_mode(config: Config, environ: Mapping[str, str]) -> SecretMode:
    given: dict[SecretMode, Secret | None]
    given = {"token": config.gateway.auth.token, "password": config.gateway.auth.password}
    # a reference or an unset ${NAME} says which mode is meant; whether it can be used is asked afterwards
    in_config = [mode for mode, secret in given.items() if secret is not None and (secret.usable or secret.missing)]
    in_environ = [mode for mode in given if environ.get(_VARIABLES[mode], "").strip()]
    if len(in_config) == 2:
        problem = 'token and password are both set; say which one counts with mode: "token" or "password"'
        raise ConfigError([f"gateway.auth: {problem}"])
    if not in_config and len(in_environ) == 2:
        problem = f'required, because {" and ".join(_VARIABLES.values())} are both set; use "token" or "password"'
        raise ConfigError([f"gateway.auth.mode: {problem}"])
    return (in_config or in_environ or ["token"])[0]


def _secret_of(mode: SecretMode, config: Config, environ: Mapping[str, str]) -> Secret:
    auth = config.gateway.auth
    given = auth.token if mode == "token" else auth.password
    if given is not None and given.usable:
        return Secret(_sendable(given.reveal(), f"gateway.auth.{mode}"), literal=given.literal)
    variable = _VARIABLES[mode]
    from_environ = environ.get(variable, "")
    if from_environ.strip() and not (given is not None and given.reference):
        return Secret(_sendable(from_environ, variable), literal=False)
    message = f"no credential: run openclaw quickstart, or set {variable}"
    if given is not None and given.missing:
        message += f"; gateway.auth.{mode} needs {', '.join(given.missing)}, which is not set"
    raise StartError(message, EXIT_CONFIG)


def _sendable(secret: str, name: str) -> str:
    """
    A secret without the blanks around it.

    @param name: where it stands.
    @raise StartError: if it holds what no header can: a control character, or half of a surrogate pair.
    """
    secret = secret.strip()
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in secret):
        raise StartError(
            f"{name} holds a line break or another control character, so that no client can send it;"
            " use printable characters only",
            EXIT_CONFIG,
        )
    return secret


def _binds_loopback(config: Config) -> bool:
    gateway = config.gateway
    return gateway.bind == "loopback" or (gateway.bind == "custom" and is_loopback_host(gateway.custom_bind_host or ""))


def bind_host(config: Config) -> str:
    """
    The address of the interface to listen at.

    @raise StartError: for C{tailnet}, which is not available yet.
    """
    gateway = config.gateway
    match gateway.bind:
        case "tailnet":
            raise StartError(
                'gateway.bind "tailnet" is not available yet; use "custom" with gateway.customBindHost', EXIT_CONFIG
            )
        case "lan":
            return "0.0.0.0"  # noqa: S104 - what the user asks for; effective_auth sees to the credential
        case "custom" if gateway.custom_bind_host not in (None, "localhost"):
            return str(gateway.custom_bind_host)
        case _:
            return "127.0.0.1"


def listen_port(config: Config, environ: Mapping[str, str]) -> int:
    """
    The port to listen at: C{OPENCLAW_GATEWAY_PORT}, else C{gateway.port}.

    @raise StartError: if the variable holds no port.
    """
    text = environ.get("OPENCLAW_GATEWAY_PORT", "").strip()
    if not text:
        return config.gateway.port
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise StartError(f'OPENCLAW_GATEWAY_PORT: expected a port between 1 and 65535, got "{text[:40]}"', EXIT_CONFIG)
    return int(text)
