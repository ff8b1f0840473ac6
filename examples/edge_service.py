"""A service on a small CPU machine: JSON in, JSON out, nothing but the standard library beside segae.

    pip install --no-deps segae && pip install numpy nibabel onnxruntime
    python examples/edge_service.py 8080
    curl -d '{"image": "ct.nii.gz", "mask": "liver.nii.gz", "structure": "liver"}' localhost:8080

It reads files that lie on its own machine and listens there only: put it behind whatever guards your network.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import segae


def open_service(port: int, engine: segae.Engine) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                found = engine.assess(asked["image"], asked["mask"], asked["structure"], label=asked.get("label"))
                status, answer = 200, found.to_dict()
            except (segae.SegaeError, KeyError, TypeError, json.JSONDecodeError) as error:
                status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
            body = json.dumps(answer, allow_nan=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing: names of files may be names of patients."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    open_service(int(sys.argv[1]) if len(sys.argv) > 1 else 8080, segae.Engine(device="cpu")).serve_forever()
