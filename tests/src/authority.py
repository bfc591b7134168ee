"""A certificate authority that speaks ACME: serles-acme over TLS, with roots and certificates made here.

Arguments: a folder; the ports of 127.0.0.1 where http-01 and tls-alpn-01 look for every name; how many seconds a
certificate is valid. Writes ca.pem (root of its own TLS and of what it issues) and says "ready PORT".
"""

import datetime
import os
import sys

import requests
import socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate(subject, public_key, issuer, issuer_key, seconds, extensions):
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(seconds=5))
        .not_valid_after(now + datetime.timedelta(seconds=seconds))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def called(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Backend:
    """What serles asks for a signature."""

    def __init__(self, config):
        here = config["authority"]
        with open(os.path.join(here["folder"], "ca.key"), "rb") as f:
            self.key = serialization.load_pem_private_key(f.read(), None)
        with open(os.path.join(here["folder"], "ca.pem"), "rb") as f:
            self.root = x509.load_pem_x509_certificate(f.read())
        self.seconds = int(here["seconds"])

    def sign(self, csr, subjectDN, subjectAltNames, email):
        request = x509.load_pem_x509_csr(csr if isinstance(csr, bytes) else csr.encode())
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        leaf = certificate(
            called("issued"), request.public_key(), self.root.subject, self.key, self.seconds, [(names, False)]
        )
        chain = leaf.public_bytes(serialization.Encoding.PEM) + self.root.public_bytes(serialization.Encoding.PEM)
        return chain.decode(), None


def main(folder, http_port, tls_port, seconds):
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = called("serles test root")
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    root = certificate(
        root_name,
        root_key.public_key(),
        root_name,
        root_key,
        86400,
        [(x509.BasicConstraints(True, None), True), (usage, True)],
    )
    own_key = ec.generate_private_key(ec.SECP256R1())
    own = certificate(
        called("serles"),
        own_key.public_key(),
        root_name,
        root_key,
        86400,
        [(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)],
    )
    files = {
        "ca.key": pem(root_key),
        "ca.pem": root.public_bytes(serialization.Encoding.PEM),
        "own.key": pem(own_key),
        "own.pem": own.public_bytes(serialization.Encoding.PEM),
        "config.ini": f"""
[serles]
database = sqlite:///{folder}/serles.sqlite
backend = authority:Backend
subjectNameTemplate = CN={{SAN[0]}}
[authority]
folder = {folder}
seconds = {seconds}
""".encode(),
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(content)
    os.environ["CONFIG"] = os.path.join(folder, "config.ini")

    # Every name is at this host, at ports that need no privilege.
    get = requests.Session.get

    def at_our_port(session, url, **options):
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        return get(session, f"{scheme}://127.0.0.1:{http_port}/{path}", headers={"Host": host}, **options)

    requests.Session.get = at_our_port
    connect = socket.create_connection
    socket.create_connection = lambda address, *more, **options: connect(
        ("127.0.0.1", int(tls_port)) if address[1] == 443 else address, *more, **options
    )

    from serles import create_app
    from werkzeug.serving import make_server

    server = make_server(
        "127.0.0.1",
        0,
        create_app(),
        threaded=True,
        ssl_context=(os.path.join(folder, "own.pem"), os.path.join(folder, "own.key")),
    )
    print("ready", server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
