"""What a gateway is started with: the configuration together with the command line's options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openclaw.config.auth_mode import effective_auth, listen_port
from openclaw.config.listen import Listening, listening_at, listening_of
from openclaw.config.load import LoadedConfig, load_config
from openclaw.config.paths import Paths
from openclaw.config.schema import Config
from openclaw.errors import EXIT_CONFIG, StartError


@attrs.frozen
class Options:
    """
    What the command line adds to the configuration.

    @ivar config_path: a configuration file in place of the usual one.
    @ivar port: a port in place of the configured one.
    @ivar bind: C{gateway.bind} in place of the configured one.
    @ivar endpoint: a Twisted endpoint description in place of both.
    @ivar log_level: the level of the log files in place of the configured one.
    """

    config_path: Path | None = None
    port: int | None = None
    bind: str | None = None
    endpoint: str | None = None
    log_level: str | None = None

    def applied_to(self, config: Config) -> Config:
        """
        A configuration with these options in the place of its settings; the port is no part of it.

        @raise StartError: if the endpoint is none.
        """
        bind: Any = self.bind
        if self.endpoint is not None:
            bind = "loopback" if listening_at(self.endpoint).on_loopback_bind else "lan"
        return config if bind is None else attrs.evolve(config, gateway=attrs.evolve(config.gateway, bind=bind))


@attrs.frozen
class Plan:
    """
    Everything that is decided before anything is opened; see L{plan}.

    @ivar loaded: the configuration as the file has it.
    @ivar config: the configuration with the command line's options.
    @ivar environ: the process's environment.
    @ivar options: the command line's options.
    """

    loaded: LoadedConfig
    config: Config
    paths: Paths
    listening: Listening
    environ: Mapping[str, str] = attrs.field(repr=False)
    options: Options


def plan(paths: Paths, environ: Mapping[str, str], options: Options) -> Plan:
    """
    Read the configuration and decide where to listen and how callers prove who they are.

    Nothing is opened, so this may run before a daemon forks.

    @param environ: the process's environment.
    @raise openclaw.errors.ConfigError: if the configuration cannot be used.
    @raise StartError: if the gateway must not or cannot start with it.
    """
    # A daemon leaves the folder that it is started in, so a path has to mean the same everywhere.
    path = (options.config_path or paths.config_path).absolute()
    loaded = load_config(path, environ, state_dir=paths.state_dir)
    if options.config_path is not None and not loaded.exists:
        raise StartError(f"--config: there is no file {path}", EXIT_CONFIG)
    config = loaded.config
    if config.gateway.mode == "remote":
        raise StartError(
            'gateway.mode is "remote": this machine uses a gateway elsewhere; set it to "local"', EXIT_CONFIG
        )
    if options.bind == "custom" and config.gateway.custom_bind_host is None:
        raise StartError("--bind custom: gateway.customBindHost names no address", EXIT_CONFIG)
    config = options.applied_to(config)
    if options.endpoint is not None:
        listening = listening_at(options.endpoint)
    else:
        listening = listening_of(config, listen_port(config, loaded.environ) if options.port is None else options.port)
    try:
        effective_auth(config, loaded.environ)
    except StartError as error:
        # quickstart never touches a configuration that is there: then it is no advice.
        if not loaded.exists or not error.message.startswith("no credential"):
            raise
        raise StartError(f"{error.message}, or gateway.auth in {loaded.path}", error.exit_code) from None
    # A copy: what the process sets for itself later is no edit of the environment.
    return Plan(loaded, config, paths, listening, dict(environ), options)
