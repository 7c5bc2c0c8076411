"""
The shared secret on the wire: C{Authorization: Bearer <secret>}, and nothing else.

Query strings, cookies and C{x-api-key} are never looked at: they end up in logs, or are sent by browsers unasked.
"""

from __future__ import annotations

import hashlib
import hmac

from openclaw.auth.head import RequestHead


def secret_digest(secret: bytes) -> bytes:
    """The SHA-256 digest that a secret is compared by; all digests have one length, whatever the secrets have."""
    return hashlib.sha256(secret).digest()


def presented_secret(head: RequestHead) -> bytes | None:
    """
    Find the secret that a request presents.

    All that follows the scheme is one secret.  So C{Bearer a, Bearer b}, which a proxy makes of two headers, presents
    the secret C{a, Bearer b}, which is a wrong one.

    @return: the secret as bytes, blanks around it removed, never empty; C{None} if there is no C{Authorization}
        header, if it has another scheme or no scheme, or if nothing follows the scheme.
    @raise openclaw.errors.InvalidRequest: for more than one C{Authorization} header.
    """
    value = head.single(b"authorization")
    if value is None:
        return None
    scheme, *rest = value.split(None, 1)[:2] or [b""]
    if scheme.lower() != b"bearer" or not rest:
        return None
    return rest[0]


def is_secret(presented: bytes, expected_digest: bytes) -> bool:
    """
    Compare a presented secret in a time that does not depend on where, or whether, it differs.

    @param expected_digest: the L{secret_digest} of the right one.
    """
    return hmac.compare_digest(secret_digest(presented), expected_digest)
