"""
Certificates: which authorities count for a model server or a proxy, and what is wrong with the one that it shows.

The library's own check says no more than that it failed; the one here tells the reason and the names.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

MAX_NAMES_TOLD = 5
"""Most names of a certificate that a message tells."""

MAX_FILES = 4000
"""Most files of a folder of authorities that are read."""

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Most that is read of a file of authorities."""

_MAX_NAME_CHARACTERS = 100
_PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_ABOVE = 9, 10, 18, 19
_UNKNOWN_ISSUER = frozenset({2, 20, 21, 27})
_REASONS = {
    7: "has a wrong signature",
    23: "was revoked",
    24: "was signed by one that is no authority",
    25: "has too many authorities above it",
    26: "is not meant for servers",
    28: "is rejected by its authority",
    66: "has a key that is too weak",
    67: "has an authority whose key is too weak",
    68: "is signed with a hash that is too weak",
}


class TLSFault(SSL.Error):
    """
    TLS that was not agreed on, with the reason as half a sentence.

    @ivar reason: what is wrong; it holds no secret and no path.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def tls_reason(error: BaseException) -> str:
    """What an error of TLS says, as half a sentence; empty if it says nothing."""
    if isinstance(error, TLSFault):
        return error.reason
    if not isinstance(error, SSL.Error) or not error.args or not isinstance(error.args[0], list):
        return ""
    said = [str(part[-1]) for part in error.args[0] if isinstance(part, tuple) and part and part[-1]]
    if {"wrong version number", "http request", "packet length too long"} & set(said):
        return "the other end does not speak TLS"
    return said[-1] if said else ""


@attrs.frozen
class ShownCertificate:
    """
    The certificate that we show to who asks for one.

    @ivar cert: it in PEM form, those that vouch for it behind it.
    @ivar key: its private key, in PEM form.  Secret.
    @ivar passphrase: what the key is encrypted with; empty if it is not.  Secret.
    @ivar source: what set these, for messages.
    """

    cert: str = attrs.field(repr=False)
    key: str = attrs.field(repr=False)
    passphrase: str = attrs.field(repr=False)
    source: str

    def options(self) -> dict[str, Any]:
        """
        As arguments of the library's options.

        @raise TLSFault: if they cannot be used together.
        """
        try:
            blocks = _PEM_CERTIFICATE.findall(self.cert.encode())
            own, *above = (crypto.load_certificate(crypto.FILETYPE_PEM, block) for block in blocks)
            # A passphrase even if there is none: the library would ask for it at the terminal.
            key = crypto.load_privatekey(crypto.FILETYPE_PEM, self.key.encode(), self.passphrase.encode())
            private: Any = key.to_cryptography_key()
            if own.get_pubkey().to_cryptography_key() != private.public_key():
                raise ValueError("another key")
        except (ValueError, TypeError, crypto.Error):
            raise TLSFault(f"cert, key and passphrase of {self.source} cannot be used together") from None
        return {"certificate": own, "privateKey": key, "extraCertChain": above}


@attrs.frozen
class Trust:
    """
    Whom to trust, and what to show to who asks.

    @ivar ca_paths: files of authorities in PEM form, and folders of such.
    @ivar ca: authorities in PEM form.  Without one or the other those of the machine count.
    @ivar shown: what is shown to who asks.
    @ivar server_name: the name that the other end's certificate must have, in place of its host's.
    @ivar source: what set the authorities, for messages.
    """

    ca_paths: tuple[str, ...] = ()
    ca: str | None = attrs.field(default=None, repr=False)
    shown: ShownCertificate | None = None
    server_name: str | None = None
    source: str = ""

    def make_context(self) -> SSL.Context:
        """
        Make what connections are made of; reads the files.

        @raise TLSFault: if there are no authorities where they should be, or the certificate to show cannot be used.
        """
        shown = {} if self.shown is None else self.shown.options()
        # All at once: the library's context cannot be changed any more.
        options = cast(Any, CertificateOptions)(trustRoot=self._trust_root(), **shown)
        return cast(SSL.Context, options.getContext())

    def _trust_root(self) -> Any:
        if not self.ca_paths and self.ca is None:
            return platformTrust()
        pieces = [] if self.ca is None else [self.ca.encode()]
        for path in map(Path, self.ca_paths):
            # As with OpenSSL: one of several that is not there leaves the others.
            with contextlib.suppress(OSError):
                files = sorted(path.iterdir())[:MAX_FILES] if path.is_dir() else [path]
                pieces += [_read(file) for file in files if file.is_file()]
        authorities: dict[bytes, Certificate] = {}
        for piece in pieces:
            for block in _PEM_CERTIFICATE.findall(piece):
                # One that OpenSSL cannot read does not make the others of a bundle worthless.
                with contextlib.suppress(crypto.Error, ValueError):
                    authorities[block] = Certificate(crypto.load_certificate(crypto.FILETYPE_PEM, block))
        if not authorities:
            raise TLSFault(f"no authority's certificate can be read from {self.source}")
        return trustRootFromCertificates(list(authorities.values()))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES)


MACHINE_TRUST = Trust()
"""The authorities of this machine, and nothing to show."""


@implementer(IPolicyForHTTPS)
class TrustPolicy:
    """
    Checks certificates by a L{Trust}.

    Reading the authorities takes tens of milliseconds: that is done once, for the first connection.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._context: SSL.Context | None = None

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """
        See C{IPolicyForHTTPS}.

        @raise TLSFault: if there are authorities of one's own that cannot be read.
        """
        if self._context is None:
            self._context = self._trust.make_context()
        name = self._trust.server_name or hostname.decode("ascii")
        return cast(IOpenSSLClientConnectionCreator, _ConnectionCreator(self._context, name))


@implementer(IOpenSSLClientConnectionCreator)
class _ConnectionCreator:
    """Makes the TLS of connections to one host."""

    def __init__(self, context: SSL.Context, host: str) -> None:
        self._context = context
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See C{IOpenSSLClientConnectionCreator}."""
        connection = SSL.Connection(self._context, None)
        if not isIPAddress(self._host) and not isIPv6Address(self._host):
            connection.set_tlsext_host_name(self._host.encode("idna"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _check(self._host, tlsProtocol))
        return connection


def _check(host: str, protocol: Any) -> Callable[[SSL.Connection, crypto.X509, int, int, int], bool]:
    """Make what is asked about each certificate of a chain, that of the host itself last."""
    # The protocol keeps the connection, and that keeps what is made here.
    protocol_ref = weakref.ref(protocol)

    def check(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, is_well: int) -> bool:
        # An error that leaves a function which OpenSSL called is lost.
        try:
            if not is_well:
                fault = _chain_fault(host, certificate, code, depth)
            elif depth == 0 and not _is_for(certificate, host):
                fault = f"the certificate is for {_names(certificate)}, not for {host}"
            else:
                return True
        except Exception:  # noqa: BLE001
            fault = f"the certificate of {host} cannot be read"
        protocol = protocol_ref()
        if protocol is not None:
            protocol.failVerification(Failure(TLSFault(fault)))
        return False

    return check


def _is_for(certificate: crypto.X509, host: str) -> bool:
    is_address = isIPAddress(host) or isIPv6Address(host)
    wanted = IPAddress_ID(host) if is_address else DNS_ID(host.encode("idna").decode("ascii"))
    try:
        verify_service_identity(extract_patterns(certificate), [wanted], [])
    except (VerificationError, CertificateError):  # the latter for one without any name
        return False
    return True


def _chain_fault(host: str, certificate: crypto.X509, code: int, depth: int) -> str:
    """What is wrong with a certificate, by OpenSSL's number for it."""
    read = certificate.to_cryptography()
    subject = f"the certificate of {host}" if depth == 0 else f"the authority {_name_of(read.subject)} behind {host}"
    if code == _EXPIRED:
        return f"{subject} has expired on {_day(read.not_valid_after_utc)}"
    if code == _NOT_YET_VALID:
        return f"{subject} is not valid before {_day(read.not_valid_before_utc)}; is the clock of this machine right?"
    if code == _SELF_SIGNED:
        return f"{subject} is self-signed, and not among the authorities that are trusted"
    if code == _SELF_SIGNED_ABOVE:
        return f"the certificate of {host} comes from {_name_of(read.subject)}, an authority that is not trusted"
    if code in _UNKNOWN_ISSUER:
        return f"{subject} comes from {_name_of(read.issuer)}, an authority that is not trusted"
    return f"{subject} {_REASONS.get(code, f'does not stand the check (OpenSSL says {code})')}"


def _day(moment: datetime.datetime) -> str:
    return moment.date().isoformat()


def _name_of(name: x509.Name) -> str:
    """The common name of who has or made a certificate, else all of its name."""
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    text = str(common[-1].value) if common else name.rfc4514_string()
    return f'"{text[:_MAX_NAME_CHARACTERS]}"'


def _names(certificate: crypto.X509) -> str:
    """The names that a certificate is for."""
    try:
        alternative = certificate.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return "no name"
    names = [str(value) for value in alternative.value.get_values_for_type(x509.DNSName)]
    names += [str(value) for value in alternative.value.get_values_for_type(x509.IPAddress)]
    told = ", ".join(name[:_MAX_NAME_CHARACTERS] for name in names[:MAX_NAMES_TOLD])
    rest = len(names) - MAX_NAMES_TOLD
    return (f"{told} and {rest} more" if rest > 0 else told) or "no name"
