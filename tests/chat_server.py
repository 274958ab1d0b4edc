"""A loopback server that speaks the chat completions of OpenAI-compatible endpoints."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatEndpoint(ThreadingHTTPServer):
    """Answers as it is told and keeps requests.

    Parameters
    ----------
    answer
        Request's body -> status and the raw body of the response.
    """

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), ChatHandler)
        self.answer, self.seen, self.lock = answer, [], threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class ChatHandler(BaseHTTPRequestHandler):
    """Answers posts."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            request = {"path": self.path, "headers": dict(self.headers), "body": body}
            self.server.seen.append(request)
            status, raw = self.server.answer(body)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", str(len(raw.encode())))
        self.end_headers()
        self.wfile.write(raw.encode())

    def log_message(self, *arguments):
        """Say nothing."""


def complete(content):
    """Raw body of a chat completion with this content."""
    return json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})


@contextlib.contextmanager
def serve_chat(answer):
    """An endpoint for as long as the block runs; see :class:`ChatEndpoint`."""
    server = ChatEndpoint(answer)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
