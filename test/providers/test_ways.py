"""Tests of L{openclaw.providers.ways}, and of what a catalog makes of them."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.load import parse_config
from openclaw.config.models import ProviderConfig
from openclaw.config.proxies import ProxyAddress
from openclaw.config.redaction import as_document, redacted, secret_values
from openclaw.config.request import ProxyConfig, RequestConfig, RequestTlsConfig
from openclaw.config.secret import Secret
from openclaw.errors import ConfigError, LastingProviderFailure, ProviderAuthFailed
from openclaw.providers.http import DIRECT, Way
from openclaw.providers.registry import Catalog, endpoint_of, keys_of
from openclaw.providers.trust import MACHINE_TRUST, ShownCertificate, Trust
from openclaw.providers.ways import WayClients, way_of

URL = "https://model.example/v1"
P = ProxyAddress("p", 80)


def provider(url: str = URL, **request: Any) -> ProviderConfig:
    """A provider that is reached as C{request} says."""
    return ProviderConfig(base_url=url, request=RequestConfig(**request) if request else None)


class WayOfTests(SynchronousTestCase):
    def test_proxies(self) -> None:
        """The setting beats the variables, and C{NO_PROXY}; this machine is reached directly all the same."""
        environ = {"HTTPS_PROXY": "p", "HTTP_PROXY": "q", "NO_PROXY": "free.example"}
        explicit = {"proxy": ProxyConfig(url=Secret("http://me:pw@r:1"))}
        rows: list[tuple[ProviderConfig, ProxyAddress | None]] = [
            (provider(), P),
            (provider(proxy=ProxyConfig(mode="env-proxy")), P),
            (provider("http://model.example"), ProxyAddress("q", 80)),
            (provider("https://free.example"), None),
            (provider("http://127.0.0.1:8000"), None),
            (provider(**explicit), ProxyAddress("r", 1, user="me:pw")),
            (provider("https://free.example", **explicit), ProxyAddress("r", 1, user="me:pw")),
            (provider("http://localhost", **explicit), None),
        ]
        for config, proxy in rows:
            self.assertEqual(proxy, way_of("m", config, environ).proxy, config)
        self.assertEqual(DIRECT, way_of("m", provider(), {}))
        self.assertNotIn("pw", repr(way_of("m", provider(**explicit), {})))

    def test_unusable_proxy(self) -> None:
        error = self.assertRaises(
            LastingProviderFailure, way_of, "m", provider(), {"https_proxy": "socks5://a:secret@b"}
        )
        self.assertEqual(
            "the provider m cannot be reached: https_proxy: socks5 proxies are not served; use an http or https proxy",
            error.message,
        )

    def test_missing_variable(self) -> None:
        absent = Secret("${MY_PROXY}", missing=("MY_PROXY",))
        for request in ({"proxy": ProxyConfig(url=absent)}, {"tls": RequestTlsConfig(ca=absent)}):
            error = self.assertRaises(ProviderAuthFailed, way_of, "m", provider(**request), {})
            self.assertIn("MY_PROXY", error.message)

    def test_trust(self) -> None:
        """Authorities of a provider beat those of the environment; the rest of C{tls} leaves them."""
        environ = {"SSL_CERT_FILE": "/f", "SSL_CERT_DIR": "/d:/e"}
        given = Trust(ca_paths=("/f", "/d", "/e"), source="SSL_CERT_FILE and SSL_CERT_DIR")
        self.assertEqual(Way(trust=given), way_of("m", provider(), environ))
        self.assertEqual(DIRECT, way_of("m", provider(), {"SSL_CERT_FILE": " "}))
        tls = RequestTlsConfig(ca_path="/own", server_name="n", cert=Secret("c"), key=Secret("k"))
        place = "models.providers.m.request.tls"
        own = Trust(("/own",), None, ShownCertificate("c", "k", "", place), "n", f"{place}.caPath")
        self.assertEqual(Way(trust=own), way_of("m", provider(tls=tls), environ))
        named = Trust(given.ca_paths, server_name="n", source=given.source)
        self.assertEqual(Way(trust=named), way_of("m", provider(tls=RequestTlsConfig(server_name="n")), environ))
        proxy = ProxyConfig(url=Secret("p"), tls=RequestTlsConfig(ca=Secret("pem")))
        way = Way(P, MACHINE_TRUST, Trust(ca="pem", source="models.providers.m.request.proxy.tls.ca"))
        self.assertEqual(way, way_of("m", provider(proxy=proxy), {}))


class ClientsTests(SynchronousTestCase):
    def test_one_for_each_way(self) -> None:
        """Providers of one way share a client, and no others; an edit of the environment counts for the next call."""
        clients = WayClients.of(MemoryReactorClock())
        config, _ = parse_config(
            {"models": {"providers": {name: {"baseUrl": f"https://{name}.example/v1"} for name in "abc"}}}, {}
        )
        environ: dict[str, str] = {"HTTPS_PROXY": "p", "NO_PROXY": "c.example"}
        direct: Any = clients.client(DIRECT)
        catalog = Catalog(lambda: config, direct, Clock(), None, lambda: environ, client_of=clients.client)

        def client(ref: str) -> Any:
            return catalog.resolve(ref).provider._http_client  # type: ignore[attr-defined]

        self.assertIs(client("a/m"), client("b/m"))
        self.assertIs(direct, client("c/m"))
        self.assertIsNot(direct, client("a/m"))
        self.assertIs(catalog.resolve("a/m").provider, catalog.resolve("a/m").provider)
        environ["https_proxy"] = "q"
        changed = client("a/m")
        self.assertIsNot(changed, client("c/m"))
        self.assertIs(changed, client("b/m"))
        environ["no_proxy"] = "*"
        self.assertIs(direct, client("a/m"))
        del changed
        client("b/m")
        gc.collect()
        self.assertEqual([DIRECT], list(clients._clients))
        self.successResultOf(clients.close())


class RequestTests(SynchronousTestCase):
    """The section C{request} of a provider."""

    def problems(self, **request: Any) -> list[str]:
        document = {"models": {"providers": {"m": {"baseUrl": URL, "request": request}}}}
        error = self.assertRaises(ConfigError, parse_config, document, {})
        return [problem.removeprefix("models.providers.m.request.") for problem in error.problems]

    def config(self, **request: Any) -> ProviderConfig:
        document = {"models": {"providers": {"m": {"baseUrl": URL, "request": request}}}}
        return parse_config(document, {})[0].models.providers["m"]

    def test_refused(self) -> None:
        """What would keep a model from answering, or be ignored, is refused with its place, without secrets."""
        served = "use an http or https proxy"
        for request, problem in (
            ({"proxy": "socks5://a:secret@b"}, f"proxy.url: socks5 proxies are not served; {served}"),
            ({"proxy": {"mode": "explicit-proxy"}}, "proxy.url: required, and missing"),
            ({"proxy": {}}, "proxy.url: required, and missing"),
            (
                {"proxy": {"mode": "env-proxy", "url": "p"}},
                'proxy.url: not with mode "env-proxy": the environment says which proxy',
            ),
            (
                {"tls": {"insecureSkipVerify": True}},
                "tls.insecureSkipVerify: certificates are always checked; name the server's authority in caPath",
            ),
            ({"tls": {"cert": "secret"}}, "tls.key: required with cert"),
            ({"tls": {"ca": "x", "caPath": "y"}}, "tls.caPath: ca is set, too; only one of them can count"),
            ({"auth": {"mode": "header", "value": "secret"}}, 'auth.headerName: required with mode "header"'),
            ({"auth": {"mode": "provider-default", "token": "x"}}, 'auth.token: not with mode "provider-default"'),
            ({"proxi": 1}, 'models.providers.m.request: unknown key "proxi"; did you mean "proxy"?'),
        ):
            self.assertEqual([problem], self.problems(**request))

    def test_who_we_are(self) -> None:
        """C{auth} stands in place of a key, and C{headers} beat those of the provider, whatever their case."""
        config = self.config(auth={"mode": "authorization-bearer", "token": "t"}, headers={"x-a": "2"})
        self.assertEqual((), keys_of("m", config, {"M_API_KEY": "env"}))
        headers = endpoint_of("m", ProviderConfig(URL, headers={"X-A": Secret("1")}, request=config.request), None)
        self.assertEqual({"x-a": "2", "Authorization": "Bearer t"}, headers.headers)
        config = self.config(auth={"mode": "header", "headerName": "X-Key", "value": "v", "prefix": "k "})
        self.assertEqual({"X-Key": "k v"}, endpoint_of("m", config, None).headers)
        config = self.config(auth={"mode": "provider-default"}, allowPrivateNetwork=True)
        self.assertEqual(("env",), keys_of("m", config, {"M_API_KEY": "env"}))

    def test_secrets(self) -> None:
        """No form of a secret is shown, and the log learns them all."""
        request = {
            "headers": {"x": "secret-1"},
            "auth": {"mode": "header", "headerName": "X", "value": "secret-2"},
            "proxy": {"url": "http://me:secret-3@p", "tls": {"cert": "c", "key": "secret-4"}},
            "tls": {"cert": "c", "key": "secret-5", "passphrase": "secret-6"},
        }
        document: dict[str, Any] = {"models": {"providers": {"m": {"baseUrl": URL, "request": request}}}}
        config, _ = parse_config(document, {})
        for shown in (redacted(document), as_document(config), config):
            self.assertNotIn("secret-", str(shown))
        bare = {"request": {"proxy": "me:secret-7@p"}, "proxy": {"url": "me:secret-7@p"}}
        self.assertNotIn("secret-", str(redacted(bare)))
        learned = set(secret_values(config, {"HTTPS_PROXY": "http://me:secret%2D8@q"}))
        self.assertLessEqual({f"secret-{number}" for number in (1, 2, 3, 4, 5, 6, 8)}, learned)
        self.assertLessEqual({"secret%2D8", "bWU6c2VjcmV0LTg="}, learned)
