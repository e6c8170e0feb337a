"""Servers that speak TLS with certificates of every kind, and proxies that refuse: on loopback, each in a thread."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Certificate:
    """`file`: key and certificate, for a server. `trusted`: the certificate alone, as a file of trusted ones."""

    file: Path
    trusted: Path


def make_certificate(folder: Path, *, days: int = 30, host: str = "127.0.0.1") -> Certificate:
    """Make a certificate that signs itself; `days` until it expires, negative for one that has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    now = datetime.now(UTC)
    is_address = host[0].isdigit()
    alternative = x509.IPAddress(ipaddress.ip_address(host)) if is_address else x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = Certificate(folder / "server.pem", folder / "trusted.pem")
    made.file.write_bytes(pem + private)
    made.trusted.write_bytes(pem)
    return made


class OneAnswer:
    """A server that says the same to all; with a certificate, over TLS. `heard`: what came after the handshake."""

    def __init__(self, answer: bytes = NOT_FOUND, certificate: Certificate | None = None) -> None:
        self._answer = answer
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate is not None else None
        if self._context is not None and certificate is not None:
            self._context.load_cert_chain(certificate.file)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.heard: list[bytes] = []

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer_one, args=(connection,), daemon=True).start()

    def _answer_one(self, connection: socket.socket) -> None:
        talking = connection
        if self._context is not None:
            talking = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with talking, suppress(OSError):
            if isinstance(talking, ssl.SSLSocket):
                talking.do_handshake()
            if received := talking.recv(65536):
                self.heard.append(received)
                talking.sendall(self._answer)
