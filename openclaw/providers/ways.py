"""The way to each configured model server, and the HTTP clients that go them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from openclaw.config.models import ProviderConfig
from openclaw.config.proxies import ProxyAddress, UnusableProxy, is_loopback, parse_proxy, proxy_of_environ, target_of
from openclaw.config.request import RequestTlsConfig
from openclaw.config.secret import Secret
from openclaw.errors import LastingProviderFailure, ProviderAuthFailed
from openclaw.providers.http import DIRECT, ProviderAgent, Way, make_agent, make_http_client
from openclaw.providers.trust import MACHINE_TRUST, ShownCertificate, Trust

AUTHORITY_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables that name authorities, which then count in place of the machine's, as with OpenSSL itself."""


def way_of(provider_id: str, config: ProviderConfig, environ: Mapping[str, str]) -> Way:
    """
    The way to a configured model server.

    A server of this machine is reached directly, whatever the configuration and the environment say.

    @raise LastingProviderFailure: if the environment names a proxy that cannot be used.
    @raise ProviderAuthFailed: if a setting needs an environment variable that is not set.
    """
    request = config.request
    proxy_settings = None if request is None else request.proxy
    path = f"models.providers.{provider_id}.request"
    given = _trust_of_environ(environ)
    proxy: ProxyAddress | None = None
    if not is_loopback(target_of(config.base_url)[1]):
        try:
            if proxy_settings is None or proxy_settings.url is None:
                proxy = proxy_of_environ(config.base_url, environ)
            else:
                proxy = parse_proxy(_revealed(provider_id, proxy_settings.url))
        except UnusableProxy as error:
            raise LastingProviderFailure(f"the provider {provider_id} cannot be reached: {error}") from None
    trust = _trust(provider_id, f"{path}.tls", None if request is None else request.tls, given)
    if proxy is None:
        return DIRECT if trust == MACHINE_TRUST else Way(trust=trust)
    proxy_tls = None if proxy_settings is None else proxy_settings.tls
    return Way(proxy, trust, _trust(provider_id, f"{path}.proxy.tls", proxy_tls, given))


def _trust_of_environ(environ: Mapping[str, str]) -> Trust:
    given = {name: environ[name].strip() for name in AUTHORITY_VARIABLES if environ.get(name, "").strip()}
    paths = [path for value in given.values() for path in value.split(os.pathsep) if path]
    return Trust(ca_paths=tuple(paths), source=" and ".join(given)) if paths else MACHINE_TRUST


def _trust(provider_id: str, path: str, tls: RequestTlsConfig | None, given: Trust) -> Trust:
    """@param given: the authorities of the environment, which count where C{tls} names none."""
    if tls is None or tls == RequestTlsConfig():
        return given
    ca, cert, key, passphrase = (
        None if secret is None else _revealed(provider_id, secret)
        for secret in (tls.ca, tls.cert, tls.key, tls.passphrase)
    )
    own_paths = () if tls.ca_path is None else (str(Path(tls.ca_path).expanduser()),)
    has_own = ca is not None or bool(own_paths)
    return Trust(
        ca_paths=own_paths if has_own else given.ca_paths,
        ca=ca,
        shown=None if cert is None or key is None else ShownCertificate(cert, key, passphrase or "", path),
        server_name=tls.server_name,
        source=f"{path}.{'ca' if ca is not None else 'caPath'}" if has_own else given.source,
    )


def _revealed(provider_id: str, secret: Secret) -> str:
    if secret.missing:
        raise ProviderAuthFailed(
            f"the provider {provider_id} needs the environment variable {secret.missing[0]}, not set"
        )
    return secret.reveal()


def _first_failure(reason: Failure) -> Failure:
    failure: Failure = cast(FirstError, reason.value).subFailure
    return failure


class WayClients:
    """
    The HTTP clients of a gateway: one for each way, so that a connection that was made on one never serves another.

    A client lasts as long as a provider has it.
    """

    def __init__(self, make: Callable[[Way], ProviderAgent]) -> None:
        """@param make: makes the agent for a way."""
        self._make = make
        self._clients: weakref.WeakValueDictionary[Way, HTTPClient] = weakref.WeakValueDictionary()
        self._agents: weakref.WeakKeyDictionary[HTTPClient, ProviderAgent] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, reactor: Any) -> WayClients:
        """Those whose agents keep their connections, over a reactor."""
        return cls(lambda way: make_agent(reactor, way=way))

    def client(self, way: Way) -> HTTPClient:
        """The client that goes a way."""
        client = self._clients.get(way)
        if client is None:
            agent = self._make(way)
            client = self._clients[way] = make_http_client(agent)
            self._agents[client] = agent
        return client

    def close(self) -> Deferred[Any]:
        """Close the idle connections; fires when they are gone."""
        closing = gatherResults([agent.close() for agent in list(self._agents.values())], consumeErrors=True)
        return closing.addErrback(_first_failure)
