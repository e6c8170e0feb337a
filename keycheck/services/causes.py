"""What stood between keycheck and a service: redirects. Pure.

In: what an HTTP answer says. Out: words for a person. Nothing of a path, a query or a header is repeated: each can hold
a secret.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,100}")


def is_redirect(status: object) -> bool:
    return isinstance(status, int) and 300 <= status < 400


def redirected(status: int, location: object) -> str:
    """Return what an answer 3xx says: its status and the host that it points to, never more of that address.

    keycheck follows none, on any call: what is sent next would take the token along (python/cpython 77842).
    """
    try:
        host = urlsplit(str(location or "")).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    where = host if HOST.fullmatch(host) else "another page of the same host" if location else "nowhere"
    return f"HTTP {status}, a redirect to {where}, which is never followed"
