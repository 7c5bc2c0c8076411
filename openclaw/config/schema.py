"""The whole configuration."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from openclaw.config.agents import AgentsConfig
from openclaw.config.env import EnvConfig
from openclaw.config.gateway import GatewayConfig
from openclaw.config.logging import LoggingConfig
from openclaw.config.models import ModelsConfig
from openclaw.config.secret import Secret
from openclaw.config.session import SessionConfig


@attrs.frozen
class Config:
    """
    The whole configuration; C{Config()} is what applies without a file.

    @ivar schema: schema of the file, for editors; ignored.
    """

    gateway: GatewayConfig = attrs.field(factory=GatewayConfig)
    models: ModelsConfig = attrs.field(factory=ModelsConfig)
    agents: AgentsConfig = attrs.field(factory=AgentsConfig)
    env: EnvConfig = attrs.field(factory=EnvConfig)
    logging: LoggingConfig = attrs.field(factory=LoggingConfig)
    session: SessionConfig = attrs.field(factory=SessionConfig)
    schema: str | None = attrs.field(default=None, metadata={"disk": "$schema"})

    def secrets(self) -> Iterator[tuple[str, Secret]]:
        """All secrets, each with the name of its key."""
        auth = self.gateway.auth
        named = {"gateway.auth.token": auth.token, "gateway.auth.password": auth.password}
        if self.gateway.remote is not None:
            named["gateway.remote.token"] = self.gateway.remote.token
            named["gateway.remote.password"] = self.gateway.remote.password
        for name, provider in self.models.providers.items():
            named[f"models.providers.{name}.apiKey"] = provider.api_key
            for place, one in enumerate(provider.api_keys):
                named[f"models.providers.{name}.apiKeys.{place}"] = one
            for header, value in provider.headers.items():
                named[f"models.providers.{name}.headers.{header}"] = value
            for place, model in enumerate(provider.models):
                for header, value in model.headers.items():
                    named[f"models.providers.{name}.models.{place}.headers.{header}"] = value
            for key, value in provider.request.secrets() if provider.request is not None else ():
                named[f"models.providers.{name}.request.{key}"] = value
        for variable, value in {**self.env.bare, **self.env.vars}.items():
            named[f"env.vars.{variable}"] = value
        yield from ((key, secret) for key, secret in named.items() if secret is not None)

    def foreign_models(self) -> Iterator[tuple[str, str]]:
        """The names of the keys that choose a model which nothing here serves, each with what is missing."""
        choices = {"agents.defaults.model": self.agents.defaults.model}
        choices |= {f"agents.entries.{agent_id}.model": entry.model for agent_id, entry in self.agents.entries.items()}
        for key, choice in choices.items():
            for ref in choice.refs if choice is not None else ():
                reason = self.models.why_not_served(ref)
                if reason is not None:
                    yield key, reason
