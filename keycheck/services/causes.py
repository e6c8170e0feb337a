"""What stood between keycheck and a service: redirects, certificates, proxies. Pure.

In: what an HTTP answer says, or the exception that a library raised. Out: words for a person. Nothing of a path, a
query, a header or a library's text is repeated: each can hold a secret.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
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


PROXY_SIGN_IN = "the proxy wants a sign-in (HTTP 407); put its user and password into HTTPS_PROXY"
CERTIFICATES = {
    9: "its certificate is not valid yet; is this machine's clock right?",
    10: "its certificate has expired",
    62: "its certificate is of another name",
    63: "its certificate is of another name",
    64: "its certificate is of another name",
}
"""OpenSSL's numbers (X509_V_ERR_...): what a person can do about it differs. All others: it is not trusted here."""


def obstacle(error: BaseException, bundle_variable: str) -> str | None:
    """Return what was in the way, if it is known: then nothing was sent. `bundle_variable`: what names a file of
    trusted certificates to the library that raised it.
    """
    for one in _chain(error):
        if (found := _certificate(one, bundle_variable) or _proxy(one) or _header(one)) is not None:
            return found
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return an exception and all beneath it, wherever its library has put them."""
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        one = queue.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            queue += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _certificate(error: BaseException, variable: str) -> str | None:
    own = f"if a proxy or an authority of your own signs it, name its certificates in {variable}"
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", 0)
        return CERTIFICATES.get(code, f"its certificate is not trusted here; {own}")
    if type(error).__name__ == "CertificateError":  # urllib3's, of a name that does not match
        return CERTIFICATES[62]
    if isinstance(error, ssl.SSLError) and error.reason == "NO_CERTIFICATE_OR_CRL_FOUND":
        return f"the file of trusted certificates that {variable} names holds none"
    if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return "it does not speak TLS; is the address right, and is a proxy in between?"
    is_missing = isinstance(error, OSError) and "TLS CA certificate bundle" in str(error)
    is_beneath_tls = isinstance(error, FileNotFoundError) and _raised_in(error, "ssl_wrap_socket")
    if is_missing or is_beneath_tls:
        return f"the file of trusted certificates that {variable} names is not there"
    return None


def _proxy(error: BaseException) -> str | None:
    tunnel = re.match(r"Tunnel connection failed: ([0-9]{3})\b", str(error)) if isinstance(error, OSError) else None
    if tunnel is not None:
        if tunnel[1] == "407":
            return PROXY_SIGN_IN
        refused = f"the proxy refused to connect to it (HTTP {tunnel[1]})"
        return f"{refused}; let the proxy allow that host, or name the host in NO_PROXY"
    if type(error).__name__ in ("ProxyError", "ProxyConnectionError") and not _has_tunnel(error):
        return "the proxy that HTTPS_PROXY names cannot be reached; is there a network?"
    if type(error).__name__ == "InvalidProxyURL":
        return "what HTTPS_PROXY holds is no proxy's address; write it like http://proxy.example.com:3128"
    return None


def _has_tunnel(error: BaseException) -> bool:
    return any("Tunnel connection failed" in str(one) for one in _chain(error) if isinstance(one, OSError))


def _header(error: BaseException) -> str | None:
    """Return what holds a line break, if http.client refused a header for it; the header itself holds credentials."""
    if not (isinstance(error, ValueError) and str(error).startswith("Invalid header value")):
        return None
    signed = re.search(r"Credential=(.*?)/[0-9]{8}/(.*?)/", str(error), re.DOTALL)
    if signed is not None and re.search(r"\\[nr]|\s", signed[1]):
        return "the access key id holds a line break or a blank; look at AWS_ACCESS_KEY_ID, or the profile's"
    if signed is not None and re.search(r"\\[nr]|\s", signed[2]):
        return "the region holds a line break or a blank; look at AWS_DEFAULT_REGION, or the profile's"
    return "a credential holds a line break; look at AWS_SESSION_TOKEN, and at the secrets"


def _raised_in(error: BaseException, function: str) -> bool:
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name == function:
            return True
        frame = frame.tb_next
    return False
