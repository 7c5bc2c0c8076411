"""What of a valid configuration keeps a gateway from starting with it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping

import attrs

from openclaw.config.auth_mode import bind_host, effective_auth, listen_port
from openclaw.config.schema import Config
from openclaw.errors import ConfigError, StartError


@attrs.frozen
class Obstacle:
    """
    A reason why a gateway could not start.

    @ivar kind: what two of the same kind have in common, however they are told.
    @ivar text: the setting and what is wrong with it.
    @ivar certain: false if nothing may be wrong in the environment that the service has, or when it is started.
    """

    kind: str
    text: str
    certain: bool = True


def obstacles(config: Config, environ: Mapping[str, str]) -> tuple[Obstacle, ...]:
    """
    Why a gateway could not start with a configuration; none where no gateway is meant to run.

    @param environ: the environment with the values of C{.env}; those of the configuration are added to it.
    """
    if config.gateway.mode == "remote":
        return ()
    environ = {**config.env.values(), **environ}
    found = [_of_credential(config, environ), _of_address(config), _of_port(config, environ)]
    return tuple(one for one in found if one is not None)


def _of_credential(config: Config, environ: Mapping[str, str]) -> Obstacle | None:
    try:
        effective_auth(config, environ)
    except ConfigError as error:
        return Obstacle(error.problems[0], error.problems[0])
    except StartError as error:
        if not error.message.startswith("no credential"):
            return Obstacle(error.message, error.message)
        auth = config.gateway.auth
        mode = "password" if "_PASSWORD" in error.message else "token"
        given = auth.password if mode == "password" else auth.token
        if given is not None and given.missing:
            text = f"no credential: gateway.auth.{mode} needs {', '.join(given.missing)}, which is not set"
            return Obstacle("no credential", text, certain=False)
        text = f"no credential: set gateway.auth.{mode} first, or OPENCLAW_GATEWAY_{mode.upper()}"
        return Obstacle("no credential", text)
    return None


def _of_address(config: Config) -> Obstacle | None:
    try:
        host = bind_host(config)
    except StartError as error:
        return Obstacle(error.message, error.message)
    if config.gateway.bind != "custom" or _is_of_this_machine(host):
        return None
    text = f'gateway.customBindHost: this machine has no address "{host}"'
    return Obstacle(text, text, certain=False)  # an address of a tunnel comes and goes


def _is_of_this_machine(host: str) -> bool:
    """Whether a socket can be bound to an address; nothing listens at it."""
    family = socket.AF_INET6 if ipaddress.ip_address(host.partition("%")[0]).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.bind((host, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def _of_port(config: Config, environ: Mapping[str, str]) -> Obstacle | None:
    try:
        listen_port(config, environ)
    except StartError as error:
        return Obstacle(error.message, error.message)
    return None
