"""Tests of L{openclaw.config.proxies}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.proxies import (
    ProxyAddress,
    UnusableProxy,
    faults_of_environ,
    is_exempt,
    is_loopback,
    parse_proxy,
    proxy_of_environ,
    target_of,
)


class ParseTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """With and without scheme, port, user and password; what is encoded in these is decoded."""
        for url, expected in {
            "http://proxy.example:3128": ProxyAddress("proxy.example", 3128),
            " HTTP://Proxy.example/ ": ProxyAddress("proxy.example", 80),
            "proxy:8080": ProxyAddress("proxy", 8080),
            "proxy": ProxyAddress("proxy", 80),
            "me:pw@proxy:8080": ProxyAddress("proxy", 8080, user="me:pw"),
            "https://proxy": ProxyAddress("proxy", 443, True),
            "http://a%40b:p%3aw%2F@[::1]:1": ProxyAddress("::1", 1, user="a@b:p:w/"),
            "http://me@proxy": ProxyAddress("proxy", 80, user="me:"),
        }.items():
            self.assertEqual(expected, parse_proxy(url), url)

    def test_unusable(self) -> None:
        """What is no proxy's URL, or one of another kind, is refused without a secret."""
        for url, said in {
            "socks5://me:secret@proxy:1080": "socks5 proxies are not served; use an http or https proxy",
            "socks5h://proxy": "socks5h proxies are not served; use an http or https proxy",
            "": "expected a proxy's URL",
            "http://": "expected a proxy's URL",
            "http://me:sec/ret@proxy": "expected a proxy's URL",
            "http://me/secret@proxy": "expected a proxy's URL",
            "http://proxy:port": "expected a proxy's URL",
            "http://proxy:0": "expected a proxy's URL",
            "http://proxy:3128?secret": "expected a proxy's URL",
            "http://[::1": "expected a proxy's URL",
            "http://a b": "expected a proxy's URL",
            "http://a..b": "expected a proxy's URL",
        }.items():
            error = self.assertRaises(UnusableProxy, parse_proxy, url)
            self.assertIn(said, str(error), url)
            self.assertNotIn("secret", str(error))

    def test_secrets(self) -> None:
        """User and password are sent, and never shown."""
        proxy = parse_proxy("http://me:secret@proxy:1")
        self.assertEqual("Basic bWU6c2VjcmV0", proxy.authorization)
        self.assertNotIn("secret", repr(proxy))
        self.assertEqual("proxy:1", proxy.where)
        self.assertIsNone(parse_proxy("proxy").authorization)
        self.assertEqual("[::1]:1", parse_proxy("[::1]:1").where)


class EnvironTests(SynchronousTestCase):
    def host(self, url: str, **environ: str) -> str | None:
        proxy = proxy_of_environ(url, environ)
        return None if proxy is None else proxy.host

    def test_which_counts(self) -> None:
        """Lower case first, also where it is blank; https falls back on http, both on ALL_PROXY."""
        rows: list[tuple[str, dict[str, str], str | None]] = [
            ("https", {}, None),
            ("https", {"HTTPS_PROXY": "a"}, "a"),
            ("http", {"HTTPS_PROXY": "a"}, None),
            ("https", {"HTTPS_PROXY": "a", "https_proxy": "b", "HTTP_PROXY": "c"}, "b"),
            ("http", {"HTTP_PROXY": "a", "http_proxy": "b"}, "b"),
            ("http", {"HTTP_PROXY": "a", "http_proxy": ""}, None),
            ("https", {"HTTP_PROXY": "a"}, "a"),
            ("https", {"HTTPS_PROXY": " ", "ALL_PROXY": "c"}, "c"),
            ("http", {"all_proxy": "http://c", "ALL_PROXY": "d"}, "c"),
            ("http", {"ALL_PROXY": "socks5://c"}, None),
            ("http", {"ALL_PROXY": "socks5://c", "HTTP_PROXY": "a"}, "a"),
        ]
        for scheme, environ, expected in rows:
            self.assertEqual(expected, self.host(f"{scheme}://model.example/v1", **environ), environ)

    def test_this_machine(self) -> None:
        """What is here is never looked for through a proxy."""
        for host in (
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "[::ffff:127.0.0.1]",
        ):
            self.assertIsNone(self.host(f"http://{host}/v1", HTTP_PROXY="p"), host)
        for host in ("10.0.0.1", "box", "localhost.example", "[fd00::1]"):
            self.assertEqual("p", self.host(f"http://{host}/v1", HTTP_PROXY="p"), host)
        self.assertTrue(is_loopback("0.0.0.0"))

    def test_no_proxy(self) -> None:
        """A lower-case value beats the other, also where it is blank."""
        url = "https://model.example/v1"
        self.assertIsNone(self.host(url, HTTPS_PROXY="p", NO_PROXY="x, example"))
        self.assertEqual("p", self.host(url, HTTPS_PROXY="p", NO_PROXY="example", no_proxy=""))
        self.assertIsNone(self.host(url, HTTPS_PROXY="p", no_proxy="*"))

    def test_faults(self) -> None:
        """A variable that counts and cannot be used is named; one that does not count is not."""
        socks = "socks5://me:secret@p"
        said = "socks5 proxies are not served; use an http or https proxy"
        self.assertEqual([f"HTTPS_PROXY: {said}"], list(faults_of_environ({"HTTPS_PROXY": socks, "http_proxy": "p"})))
        self.assertEqual([f"http_proxy: {said}"], list(faults_of_environ({"http_proxy": socks})))
        self.assertEqual([], list(faults_of_environ({"ALL_PROXY": socks, "HTTP_PROXY": socks, "http_proxy": "p"})))
        error = self.assertRaises(UnusableProxy, proxy_of_environ, "https://m", {"HTTPS_PROXY": socks})
        self.assertEqual(f"HTTPS_PROXY: {said}", str(error))


class ExemptTests(SynchronousTestCase):
    def test_entries(self) -> None:
        for url, yes, no in (
            (
                "https://Api.Model.example./v1",
                (
                    "*",
                    "model.example",
                    ".model.example",
                    "*.model.example",
                    "API.MODEL.EXAMPLE",
                    "example:443",
                    "a b,example",
                ),
                ("", "del.example", "api.model.example.org", "example:80", "i.model.example", "[example", "*.", "."),
            ),
            (
                "http://10.1.2.3:8000/v1",
                ("10.1.2.3", "10.0.0.0/8", "10.1.*", "10.*.2.3", "10.1.2.3:8000", "::ffff:10.1.2.3", "10.1.2.9/24"),
                ("10.1.2.30", "1.2.3", "2.3", "10.1.2.3:80", "11.0.0.0/8", "10.0.0.0/99", "10.2.*", "10.1", "fd00::/8"),
            ),
            (
                "http://[fd00::1]/v1",
                ("fd00::1", "[FD00::1]", "[fd00:0::1]:80", "fd00::/8"),
                ("fd00::2", "[fd00::1]:81", "10.0.0.0/8"),
            ),
        ):
            _, host, port = target_of(url)
            for entry in yes:
                self.assertTrue(is_exempt(host, port, entry), entry)
            for entry in no:
                self.assertFalse(is_exempt(host, port, entry), entry)

    def test_no_url(self) -> None:
        self.assertEqual(("", "", 0), target_of("http://[::1"))
