"Places outside that take heads of the ledger, as servers of a test: a time stamp authority, a calendar, and servers that misbehave."

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from football_pred.core.head_signing import sign_head
from tests.support.services import require_program

AT = datetime(2026, 11, 30, 9, tzinfo=UTC)
ORIGIN = '0f' * 16
Answer = tuple[int, bytes]  # status and body


def make_head(size: int = 3, root: str = 'ab', key: Any = None, **fields: Any) -> dict[str, Any]:
    "A head of the ledger."
    moment = '2026-11-30T08:53:32.000000+00:00'
    plain = {'origin': ORIGIN, 'size': size, 'root': root * 32, 'at': moment}
    return sign_head(plain | fields, key)


@contextmanager
def run_http(answer: Callable[[BaseHTTPRequestHandler, bytes], Answer | None]) -> Iterator[str]:
    "A server that answers every request by a function; its address. None: the function has answered."

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            response = answer(self, body)
            if response is None:
                return
            self.send_response(response[0])
            self.send_header('Content-Length', str(len(response[1])))
            self.end_headers()
            self.wfile.write(response[1])

        do_GET = do_POST = do_PUT = do_HEAD = handle_any

        def log_message(self, *arguments: Any) -> None:
            "Print nothing."

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_address[1]}'
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def run_hanging() -> Iterator[str]:
    "A server that takes requests and does not answer."
    end = threading.Event()

    def hang(handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        end.wait()
        return 503, b''

    with run_http(hang) as url:
        try:
            yield url
        finally:
            end.set()


@contextmanager
def run_dripping() -> Iterator[str]:
    "A server that sends a byte every now and then, without end."
    end = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not end.wait(0.05):
                handler.wfile.write(b'.')
                handler.wfile.flush()
        except OSError:
            return  # the client has gone

    with run_http(drip) as url:
        try:
            yield url
        finally:
            end.set()


OPENSSL_CONFIG = """
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
certs = {folder}/root.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
[tsa_extension]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


class Authority:
    "Time stamp authority (RFC 3161) by the command openssl, with a root of its own."

    def __init__(self, folder: Path, name: str) -> None:
        self.openssl = require_program('openssl', 'openssl')
        self.folder = folder
        folder.mkdir()
        (folder / 'openssl.cnf').write_text(OPENSSL_CONFIG.format(folder=folder))
        (folder / 'serial').write_text('01\n')
        new_key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
        subject = ['-subj', f'/CN={name} root']
        root = ['-x509', '-days', '3650', '-keyout', 'root.key', '-out', 'root.pem']
        self.run('req', *new_key, *subject, *root)
        leaf = ['-subj', f'/CN={name}', '-keyout', 'tsa.key', '-out', 'tsa.csr']
        self.run('req', *new_key, *leaf)
        issuer = ['-CA', 'root.pem', '-CAkey', 'root.key', '-CAcreateserial', '-days', '3650']
        extension = ['-extfile', 'openssl.cnf', '-extensions', 'tsa_extension']
        self.run('x509', '-req', '-in', 'tsa.csr', '-out', 'tsa.pem', *issuer, *extension)
        self.certificates = (folder / 'root.pem').read_bytes()

    def run(self, *arguments: str) -> None:
        "Run openssl in the folder of the authority."
        subprocess.run([self.openssl, *arguments], cwd=self.folder, check=True, capture_output=True)

    def reply(self, query: bytes) -> bytes:
        "Answer a query as the authority does."
        (self.folder / 'query').write_bytes(query)
        self.run(
            'ts',
            '-reply',
            '-config',
            'openssl.cnf',
            '-section',
            'tsa_config',
            '-queryfile',
            'query',
            '-out',
            'reply',
        )
        return (self.folder / 'reply').read_bytes()

    def query(self, digest: str) -> bytes:
        "A query of somebody else for a digest; its nonce is a new one."
        self.run('ts', '-query', '-digest', digest, '-sha256', '-cert', '-out', 'other')
        return (self.folder / 'other').read_bytes()


class Calendar:
    "Calendar of OpenTimestamps that puts what it was given into a block when it is asked to."

    def __init__(self) -> None:
        self.url = ''
        self.commitments: list[bytes] = []
        self.is_mined = False
        self.uri = ''  # that proofs name; empty: that of this calendar

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        "Answer as a calendar does."
        if handler.command == 'POST' and handler.path == '/digest':
            return 200, self.submit(body)
        commitment = bytes.fromhex(handler.path.removeprefix('/timestamp/'))
        if commitment not in self.commitments or not self.is_mined:
            return 404, b'Pending confirmation in Bitcoin blockchain'
        return 200, self.mine(commitment)

    def submit(self, digest: bytes) -> bytes:
        "Commit to a digest."
        from opentimestamps.core.notary import PendingAttestation
        from opentimestamps.core.op import OpAppend, OpSHA256
        from opentimestamps.core.timestamp import Timestamp

        timestamp = Timestamp(digest)
        commitment = timestamp.ops.add(OpAppend(b'nonce')).ops.add(OpSHA256())
        commitment.attestations.add(PendingAttestation(self.uri or self.url))
        self.commitments.append(commitment.msg)
        return serialize(timestamp)

    def mine(self, commitment: bytes) -> bytes:
        "The way of a commitment into a block."
        from opentimestamps.core.notary import BitcoinBlockHeaderAttestation
        from opentimestamps.core.op import OpPrepend, OpSHA256
        from opentimestamps.core.timestamp import Timestamp

        timestamp = Timestamp(commitment)
        root = timestamp.ops.add(OpPrepend(b'\x01' * 32)).ops.add(OpSHA256())
        root.attestations.add(BitcoinBlockHeaderAttestation(925_000))
        return serialize(timestamp)


def serialize(timestamp: Any) -> bytes:
    "A timestamp as a calendar sends it."
    from opentimestamps.core.serialize import BytesSerializationContext

    context = BytesSerializationContext()
    timestamp.serialize(context)
    content: bytes = context.getbytes()
    return content


@contextmanager
def run_calendar() -> Iterator[Calendar]:
    "A calendar that listens."
    calendar = Calendar()
    with run_http(calendar.answer) as url:
        calendar.url = url
        yield calendar
