"An HTTP server of files that stands in for the hosts of data sources."

import hashlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from football_pred.ingest.http_messages import FetchLimits

FAST = FetchLimits(requests_per_second=None, backoff=0)


class Host:
    "A server of files with an entity tag for each; it counts its responses by status."

    def __init__(self):
        self.pages: dict[str, Path] = {}
        self.answers: Counter[int] = Counter()
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                path = host.pages.get(self.path.split('?')[0])
                content = path.read_bytes() if path else b'not here'
                tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
                if path is None:
                    status = 404
                elif self.headers.get('If-None-Match') == tag:
                    status = 304
                else:
                    status = 200
                host.answers[status] += 1
                self.send_response(status)
                self.send_header('ETag', tag)
                self.send_header('Content-Length', str(len(content) if status != 304 else 0))
                self.end_headers()
                if status != 304:
                    self.wfile.write(content)

            def log_message(self, *_): ...

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={'poll_interval': 0.01}
        )

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
