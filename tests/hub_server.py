"""A loopback server that speaks the hub's API, as far as its client asks.

Revisions are folders on disk. Repositories may be gated or private, and a download may be made to
break off in the middle, once. Every request is recorded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"
API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|refs|tree)(?:/([^/]+))?)?")
FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class HubRepo:
    """A repository: revision -> folder, and who may read it."""

    revisions: dict[str, Path]
    tags: tuple[str, ...] = ()
    gated: bool = False
    private: bool = False

    def find(self, revision):
        """Commit and folder of a branch, tag or commit; None if there is none."""
        for name, folder in self.revisions.items():
            if revision in (name, self.commit(name)):
                return self.commit(name), folder
        return None

    def commit(self, revision):
        """Commit hash: a digest of all files, so that equal content under two names differs."""
        digest = hashlib.sha1(revision.encode())
        for path in list_files(self.revisions[revision]):
            digest.update(path.read_bytes())
        return digest.hexdigest()


@dataclass
class Hub:
    """The server's state.

    Parameters
    ----------
    repos
        Name -> repository.
    breaks
        File name -> bytes after which its next download breaks off.
    requests
        (method, path, Range header or None), in order.
    """

    repos: dict[str, HubRepo]
    breaks: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list, repr=False)
    address: str = ""

    def environment(self, cache):
        """What makes a process take this server for the hub."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(Path(cache).parent / "hf-home"),
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": "",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def point_client(self, monkeypatch, cache, offline=False):
        """Make this process's client take this server for the hub."""
        template = f"{self.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in {
            "ENDPOINT": self.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": offline,
        }.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)

    def list_downloads(self, suffix=".safetensors"):
        """Paths of the files that were sent, in order."""
        return [p for method, p, _ in self.requests if method == "GET" and p.endswith(suffix)]


@contextlib.contextmanager
def serve_hub(repos):
    """Serve repositories on a free port for as long as the block runs."""
    hub = Hub(repos)
    handler = type("Handler", (HubHandler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for connection in hub.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class HubHandler(BaseHTTPRequestHandler):
    """Answers one request after another of a connection."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.hub.connections.append(self.connection)

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, unquote(path), self.headers.get("Range")))
        asked = [unquote(part) if part else "" for part in self.split(path)]
        if not asked:
            return self.refuse(404, "")
        kind, name, revision, file = asked
        repo = self.hub.repos.get(name)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token != TOKEN:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        if repo is None or (repo.private and not token):
            return self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        if kind == "refs":
            return self.send_json(describe_refs(repo))
        found = repo.find(revision or "main")
        if found is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        commit, folder = found
        if kind == "tree":
            return self.send_json([describe_file(folder, p) for p in list_files(folder)])
        if kind != "resolve":
            files = [{"rfilename": str(p.relative_to(folder))} for p in list_files(folder)]
            return self.send_json({"id": name, "sha": commit, "siblings": files})
        if repo.gated and not token:
            return self.refuse(401, "GatedRepo", "Access to this repository is restricted")
        if not (folder / file).is_file():
            return self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        return self.send_file(folder / file, commit)

    def split(self, path):
        """Kind of request, repository, revision, file; empty for another server's business."""
        if match := FILE.fullmatch(path):
            return "resolve", *match.groups()
        if match := API.fullmatch(path):
            return match[2] or "info", match[1], match[3], ""
        return ()

    def send_file(self, path, commit):
        data = path.read_bytes()
        start = 0
        if asked := self.headers.get("Range"):
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{find_etag(path)}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(data)
        if path.name in self.hub.breaks:
            end = start + self.hub.breaks.pop(path.name)
            self.close_connection = True
        self.wfile.write(data[start:end])

    def send_json(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def refuse(self, status, code, message="", headers=None):
        self.send_response(status)
        named = {"X-Error-Code": code, "X-Error-Message": message, "Content-Length": "0"}
        for name, value in (named | (headers or {})).items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        """Stay quiet."""


def list_files(folder):
    """All files below a folder, in order."""
    return sorted(p for p in folder.rglob("*") if p.is_file())


def describe_refs(repo):
    """Answer of `/refs`."""

    def describe(name, kind):
        return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": repo.commit(name)}

    return {
        "branches": [describe(n, "heads") for n in repo.revisions if n not in repo.tags],
        "tags": [describe(n, "tags") for n in repo.tags],
        "converts": [],
    }


def describe_file(folder, path):
    """A file as `/tree` lists it; weights are in large-file storage."""
    data = path.read_bytes()
    entry = {
        "type": "file",
        "path": path.relative_to(folder).as_posix(),
        "size": len(data),
        "oid": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
    }
    if path.suffix == ".safetensors":
        entry["lfs"] = {"oid": find_etag(path), "size": len(data), "pointerSize": 134}
    return entry


def find_etag(path):
    """SHA-256 of a file in large-file storage, else git's hash of it."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
