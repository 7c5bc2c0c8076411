"""C{models.providers.<id>.request}: how a model server is reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

import attrs

from openclaw.config.checks import HEADER_NAME, Text
from openclaw.config.gateway import Problem
from openclaw.config.proxies import UnusableProxy, parse_proxy
from openclaw.config.secret import Secret


@attrs.frozen
class RequestTlsConfig:
    """
    C{tls}: how the other end's certificate is checked, and which one it is shown.

    @ivar ca: the authorities that count in place of the machine's: certificates in PEM form.
    @ivar ca_path: the same in a file, or in a folder as C{openssl rehash} makes it.
    @ivar cert: a certificate to show, in PEM form, those that vouch for it behind it.
    @ivar key: its private key, in PEM form.
    @ivar passphrase: what the private key is encrypted with.
    @ivar server_name: the name that the certificate must be for, in place of the URL's host.
    @ivar insecure_skip_verify: only C{false} is taken.
    """

    ca: Secret | None = None
    ca_path: Text | None = None
    cert: Secret | None = None
    key: Secret | None = None
    passphrase: Secret | None = None
    server_name: Text | None = None
    insecure_skip_verify: bool = False

    def settled(self, problem: Problem) -> Self:
        """Refuse what would switch the check off, and half a pair."""
        if self.insecure_skip_verify:
            problem(("insecureSkipVerify",), "certificates are always checked; name the server's authority in caPath")
        if self.ca is not None and self.ca_path is not None:
            problem(("caPath",), "ca is set, too; only one of them can count")
        if (self.cert is None) != (self.key is None):
            missing, there = ("key", "cert") if self.key is None else ("cert", "key")
            problem((missing,), f"required with {there}")
        return self

    def secrets(self) -> Iterator[tuple[str, Secret]]:
        """What must not be shown, each with its key below this one."""
        named = {"key": self.key, "passphrase": self.passphrase}
        yield from ((name, secret) for name, secret in named.items() if secret is not None)


@attrs.frozen
class ProxyConfig:
    """
    C{request.proxy}: the proxy that leads to the server; a bare string is its C{url}.

    @ivar mode: which proxy: C{explicit-proxy} with a C{url}, or C{env-proxy}, as without this setting.
    @ivar url: the proxy, such as C{http://user:password@proxy.example:3128}; C{NO_PROXY} does not count for it.
    @ivar tls: for a proxy that is itself spoken to over TLS.
    """

    shorthand = "url"

    mode: Literal["env-proxy", "explicit-proxy"] | None = None
    url: Secret | None = None
    tls: RequestTlsConfig | None = None

    def settled(self, problem: Problem) -> Self:
        """Check the URL, without showing it: it may hold a password."""
        if self.mode == "env-proxy" and self.url is not None:
            problem(("url",), 'not with mode "env-proxy": the environment says which proxy')
        elif self.mode != "env-proxy" and self.url is None:
            problem(("url",), "required, and missing")
        elif self.url is not None and not self.url.missing:
            try:
                parse_proxy(self.url.reveal())
            except UnusableProxy as error:
                problem(("url",), str(error))
        return self


@attrs.frozen
class RequestAuthConfig:
    """
    C{request.auth}: how we say who we are, in place of C{apiKey}.

    @ivar mode: by C{authorization-bearer} with C{token}, by C{header}, or by C{provider-default}: as without it.
    @ivar token: sent as bearer token.
    @ivar header_name: name of the header.
    @ivar value: what is sent in it.
    @ivar prefix: what stands before that.
    """

    mode: Literal["provider-default", "authorization-bearer", "header"]
    token: Secret | None = None
    header_name: Annotated[str, HEADER_NAME] | None = None
    value: Secret | None = None
    prefix: str | None = None

    def settled(self, problem: Problem) -> Self:
        """Check that there is what the mode needs, and nothing else."""
        needed = {"authorization-bearer": {"token"}, "header": {"headerName", "value"}}.get(self.mode, set())
        given = {"token": self.token, "headerName": self.header_name, "value": self.value, "prefix": self.prefix}
        for name, value in given.items():
            if value is None and name in needed:
                problem((name,), f'required with mode "{self.mode}"')
            elif value is not None and name not in needed and not (name == "prefix" and self.mode == "header"):
                problem((name,), f'not with mode "{self.mode}"')
        return self

    @property
    def header(self) -> tuple[str, Secret] | None:
        """The header that it makes; C{None} for the provider's default."""
        if self.token is not None:
            return "Authorization", _behind("Bearer ", self.token)
        if self.header_name is None or self.value is None:
            return None
        return self.header_name, _behind(self.prefix or "", self.value)


def _behind(prefix: str, secret: Secret) -> Secret:
    value = f"{prefix}{secret.reveal()}"
    return Secret(value, literal=secret.literal, reference=secret.reference, missing=secret.missing)


@attrs.frozen
class RequestConfig:
    """
    C{models.providers.<id>.request}.

    @ivar headers: a header that is sent with every request; it beats one of the provider's C{headers}.
    @ivar auth: how we say who we are, in place of C{apiKey}.
    @ivar proxy: the proxy that leads to the server.
    @ivar tls: how the server's certificate is checked.
    """

    headers: Mapping[Annotated[str, HEADER_NAME], Secret] = attrs.field(factory=dict)
    auth: RequestAuthConfig | None = None
    proxy: ProxyConfig | None = None
    tls: RequestTlsConfig | None = None

    @property
    def says_who_we_are(self) -> bool:
        """Whether C{auth} does without a key of the provider."""
        return self.auth is not None and self.auth.header is not None

    @property
    def all_headers(self) -> Mapping[str, Secret]:
        """The headers, that of C{auth} included."""
        header = None if self.auth is None else self.auth.header
        return self.headers if header is None else {**self.headers, header[0]: header[1]}

    def secrets(self) -> Iterator[tuple[str, Secret]]:
        """What must not be shown, each with its key below this one."""
        named = {f"headers.{name}": value for name, value in self.headers.items()}
        if self.auth is not None:
            named |= {
                f"auth.{name}": secret
                for name, secret in (("token", self.auth.token), ("value", self.auth.value))
                if secret is not None
            }
        if self.proxy is not None and self.proxy.url is not None and "@" in self.proxy.url.reveal():
            named["proxy.url"] = self.proxy.url
        for place, tls in (("tls", self.tls), ("proxy.tls", None if self.proxy is None else self.proxy.tls)):
            named |= {f"{place}.{name}": secret for name, secret in (tls.secrets() if tls is not None else ())}
        yield from named.items()
