"""A Hub for tests: over loopback, the requests that huggingface_hub's client really makes.

It keeps its own ledger of what was uploaded and committed, and misbehaves on request: `fail` lines
up what the next requests of a kind get instead of their answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "hf_MARKERabcdefghijklmnopqrstuvwxyz"
LARGE = (".parquet", ".safetensors", ".arrow", ".bin")
"""Ends of the names of files that go to large file storage, as .gitattributes says on the Hub."""

MAX_SMALL = 10_000_000


@dataclass(frozen=True)
class Stored:
    """A file of a commit."""

    blob: str
    size: int
    sha256: str | None = None
    """Of large files."""


@dataclass
class Repository:
    private: bool
    commits: list[tuple[str, str, dict[str, Stored]]] = field(default_factory=list)
    """Oid, message and files of each commit."""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Stored]:
        return self.commits[-1][2]

    def at(self, revision: str) -> tuple[str, dict[str, Stored]] | None:
        revision = revision.removeprefix("refs/heads/")
        wanted = self.commits[-1][0] if revision == "main" else self.tags.get(revision, revision)
        return next(((oid, files) for oid, _, files in self.commits if oid == wanted), None)

    def add(self, message: str, files: dict[str, Stored]) -> str:
        oid = hashlib.sha1(f"{len(self.commits)}{message}{sorted(files)}".encode()).hexdigest()
        self.commits.append((oid, message, files))
        return oid


@dataclass(frozen=True)
class Fault:
    """What a request gets instead of its answer: a status, or a cut connection, or a wait."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    text: str = "the server had an error"
    wait_seconds: float = 0.0


CUT = Fault()


@dataclass
class Ledger:
    requests: Counter[str] = field(default_factory=Counter)
    """By kind, as in `fail`."""
    uploads: Counter[str] = field(default_factory=Counter)
    """How often each large content arrived whole."""
    parts: int = 0
    uploaded_bytes: int = 0
    largest_commit: int = 0
    """Operations in it."""
    sent: list[str] = field(default_factory=list)
    """Paths of all files in all commits, in order."""
    strangers: list[str] = field(default_factory=list)
    """Requests that no route knows."""


class Server:
    """The server, in a thread of its own; `url` is its address."""

    def __init__(self) -> None:
        self.url = ""
        self.token, self.user = TOKEN, "somebody"
        self.writable = {"somebody", "org"}
        self.part_bytes = 0
        """Large contents are taken in parts of this size; 0: whole."""
        self.page = 1000
        """Files listed in one answer."""
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.contents: dict[str, bytes] = {}
        """By sha256 and by git's sha1."""
        self.half: dict[str, dict[int, bytes]] = {}
        self.ledger = Ledger()
        self.faults: dict[str, deque[Fault]] = {}
        self.stalls_after: int | None = None
        """Once so many large contents have arrived, no upload and no commit is answered."""
        self.xet: dict[str, str] = {}
        """Headers of the answer to who asks for Xet; empty: there is none."""

    @property
    def is_stalling(self) -> bool:
        return self.stalls_after is not None and len(self.ledger.uploads) >= self.stalls_after

    def fail(self, kind: str, *faults: Fault) -> None:
        """Line up what the next requests of a kind get."""
        self.faults.setdefault(kind, deque()).extend(faults)

    def repository(self, id: str, repo_type: str = "dataset") -> Repository:
        return self.repositories[repo_type, id]

    def content(self, id: str, path: str, repo_type: str = "dataset") -> bytes:
        return self._bytes(self.repository(id, repo_type).files[path])

    def _bytes(self, stored: Stored) -> bytes:
        return self.contents[stored.sha256 or stored.blob]

    def make(self, repo_type: str, id: str, *, private: bool = True, **texts: str) -> Repository:
        """Make a repository as somebody else would."""
        repository = self.repositories[repo_type, id] = Repository(private)
        files = {".gitattributes": self._store(b"*.parquet filter=lfs\n")}
        for name, text in texts.items():
            files[name.replace("__", ".")] = self._store(text.encode())
        repository.add("initial commit", files)
        return repository

    def write(self, id: str, path: str, text: str, repo_type: str = "dataset") -> None:
        """Commit a file as somebody else would."""
        repository = self.repository(id, repo_type)
        repository.add(f"Update {path}", {**repository.files, path: self._store(text.encode())})

    def _store(self, content: bytes) -> Stored:
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        self.contents[blob] = content
        return Stored(blob, len(content))

    # Whatever comes first: faults, tokens, repositories.

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        route = request.match_info.route.name
        kind = route.split("-")[0] if route else "unknown"
        self.ledger.requests[kind] += 1
        if not route:
            self.ledger.strangers.append(f"{request.method} {request.path}")
        if self.faults.get(kind):
            answer = await self._misbehave(request, self.faults[kind].popleft())
            if answer is not None:
                return answer
        while self.is_stalling and kind in ("upload", "commit"):
            await asyncio.sleep(0.01)
        is_known = request.headers.get("authorization") == f"Bearer {self.token}"
        if kind != "upload" and not is_known and not self._is_public(request):
            return error(401, "Invalid credentials in Authorization header")
        return await handler(request)  # type: ignore[no-any-return]

    async def _misbehave(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.wait_seconds:
            await asyncio.sleep(fault.wait_seconds)
            return None
        if fault.status:
            return error(fault.status, fault.text, dict(fault.headers))
        if request.method == "PUT":
            await request.content.readany()
        if request.method == "GET":
            response = web.StreamResponse()
            response.content_length = 10_000
            await response.prepare(request)
            await response.write(b"half of")
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=500)

    def _is_public(self, request: web.Request) -> bool:
        if request.method not in ("GET", "HEAD") or "name" not in request.match_info:
            return False
        found = self.repositories.get(self._key(request))
        return found is not None and not found.private

    def _key(self, request: web.Request) -> tuple[str, str]:
        info = request.match_info
        kind = "model" if info.get("type", "models") == "models" else "dataset"
        return kind, f"{info['org']}/{info['name']}"

    def _find(self, request: web.Request) -> Repository:
        found = self.repositories.get(self._key(request))
        if found is None:
            raise _Refused(error(404, "Repository not found", {"X-Error-Code": "RepoNotFound"}))
        return found

    def _at(self, request: web.Request) -> tuple[str, dict[str, Stored]]:
        found = self._find(request).at(request.match_info["revision"])
        if found is None:
            raise _Refused(error(404, "Revision", {"X-Error-Code": "RevisionNotFound"}))
        return found

    def _may_write(self, org: str) -> None:
        if org not in self.writable:
            raise _Refused(error(403, f"You don't have the rights to write to {org}"))

    # The requests.

    async def whoami(self, request: web.Request) -> web.Response:
        return web.json_response({"type": "user", "name": self.user, "orgs": [{"name": "org"}]})

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        org, name = body.get("organization") or self.user, body["name"]
        kind = body.get("type", "model")
        self._may_write(org)
        id = f"{org}/{name}"
        address = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{id}"
        if (kind, id) in self.repositories:
            return web.json_response({"error": "You already created this repo"}, status=409)
        self.make(kind, id, private=body.get("visibility") == "private")
        return web.json_response({"url": address, "name": id})

    async def info(self, request: web.Request) -> web.Response:
        repository = self._find(request)
        kind, id = self._key(request)
        oid, files = repository.at(request.match_info.get("revision", "main")) or ("", {})
        if not oid:
            return error(404, "Revision", {"X-Error-Code": "RevisionNotFound"})
        told = {"_id": "0", "id": id, "author": id.split("/")[0], "sha": oid, "tags": []}
        told |= {"private": repository.private, "disabled": False, "gated": False, "downloads": 0}
        told |= {"lastModified": "2026-01-01T00:00:00.000Z", "likes": 0}
        told |= {"siblings": [{"rfilename": name} for name in sorted(files)]}
        return web.json_response(told | ({"modelId": id} if kind == "model" else {}))

    async def refs(self, request: web.Request) -> web.Response:
        repository = self._find(request)
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.commits[-1][0]}
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in repository.tags.items()
        ]
        return web.json_response({"branches": [main], "converts": [], "tags": tags})

    async def tree(self, request: web.Request) -> web.Response:
        _, files = self._at(request)
        folder = request.match_info.get("path", "").strip("/")
        inside = f"{folder}/" if folder else ""
        recursive = request.query.get("recursive", "").lower() in ("true", "1")
        found: dict[str, dict[str, Any]] = {}
        for name, one in sorted(files.items()):
            if not name.startswith(inside):
                continue
            parts = name[len(inside) :].split("/")
            for depth in range(1, len(parts)):
                if depth == 1 or recursive:
                    path = inside + "/".join(parts[:depth])
                    found[path] = {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
            if len(parts) == 1 or recursive:
                found[name] = told_of(name, one)
        if folder and not found:
            return error(404, "Entry", {"X-Error-Code": "EntryNotFound"})
        start = int(request.query.get("cursor", 0))
        page = list(found.values())[start : start + self.page]
        headers = {}
        if start + self.page < len(found):
            following = request.url.update_query(cursor=start + self.page)
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(page, headers=headers)

    async def paths_info(self, request: web.Request) -> web.Response:
        _, files = self._at(request)
        form = await (request.json() if request.content_type.endswith("json") else request.post())
        asked = form["paths"] if isinstance(form["paths"], list) else form.getall("paths")
        return web.json_response([told_of(name, files[name]) for name in asked if name in files])

    async def preupload(self, request: web.Request) -> web.Response:
        _, files = self._at(request)
        self._may_write(request.match_info["org"])
        answers = []
        for one in (await request.json())["files"]:
            is_large = one["path"].endswith(LARGE) or one["size"] > MAX_SMALL
            there = files.get(one["path"])
            oid = {"oid": there.sha256 or there.blob} if there else {}
            mode = "lfs" if is_large else "regular"
            answers.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
        return web.json_response({"files": answers})

    async def batch(self, request: web.Request) -> web.Response:
        self._find(request)
        self._may_write(request.match_info["org"])
        objects = []
        for one in (await request.json())["objects"]:
            told = {"oid": one["oid"], "size": one["size"], "authenticated": True}
            if one["oid"] not in self.contents:
                told["actions"] = self._actions(request, one["oid"], one["size"])
            objects.append(told)
        return web.json_response({"transfer": "basic", "objects": objects})

    def _actions(self, request: web.Request, oid: str, size: int) -> dict[str, Any]:
        kind, id = self._key(request)
        prefix = "datasets/" if kind == "dataset" else ""
        verify = {"href": f"{self.url}/{prefix}{id}.git/info/lfs/objects/verify"}
        signed = f"{self.url}/storage/{oid}?X-Amz-Signature=SIGNEDsecret"
        if not self.part_bytes or size <= self.part_bytes:
            return {"upload": {"href": signed}, "verify": verify}
        n_parts = -(-size // self.part_bytes)
        header = {
            str(n): f"{self.url}/storage/{oid}/{n}?sign=SIGNEDsecret" for n in range(1, n_parts + 1)
        }
        header["chunk_size"] = str(self.part_bytes)
        return {
            "upload": {"href": f"{self.url}/storage/{oid}/all", "header": header},
            "verify": verify,
        }

    async def upload(self, request: web.Request) -> web.Response:
        oid, content = request.match_info["oid"], await request.read()
        if hashlib.sha256(content).hexdigest() != oid:
            return error(400, "BadDigest")
        self._arrived(oid, content)
        return web.Response(headers={"ETag": f'"{oid}"'})

    def _arrived(self, oid: str, content: bytes) -> None:
        self.ledger.uploads[oid] += 1
        self.ledger.uploaded_bytes += len(content)
        self.contents[oid] = content

    async def upload_part(self, request: web.Request) -> web.Response:
        number = int(request.match_info["part"])
        self.half.setdefault(request.match_info["oid"], {})[number] = await request.read()
        self.ledger.parts += 1
        return web.Response(headers={"ETag": f'"part{number}"'})

    async def upload_all(self, request: web.Request) -> web.Response:
        oid, body = request.match_info["oid"], await request.json()
        parts = self.half.pop(oid)
        content = b"".join(parts[one["partNumber"]] for one in body["parts"])
        if hashlib.sha256(content).hexdigest() != oid:
            return error(400, "BadDigest")
        self._arrived(oid, content)
        return web.json_response({})

    async def verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        there = len(self.contents.get(body["oid"], b"")) == body["size"]
        return web.json_response({}) if there else error(422, "not as announced")

    async def commit(self, request: web.Request) -> web.Response:
        repository = self._find(request)
        self._may_write(request.match_info["org"])
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        header = lines[0]["value"]
        parent = header.get("parentCommit")
        if parent is not None and parent != repository.commits[-1][0]:
            return error(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.files)
        for line in lines[1:]:
            value, path = line["value"], line["value"]["path"]
            if line["key"] == "file":
                files[path] = self._store(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.contents:
                    return error(400, f"{path} was not uploaded")
                pointer = f"version lfs\noid sha256:{value['oid']}\n".encode()
                size = len(self.contents[value["oid"]])
                files[path] = Stored(hashlib.sha1(pointer).hexdigest(), size, value["oid"])
            else:
                del files[path]
            self.ledger.sent.append(path)
        self.ledger.largest_commit = max(self.ledger.largest_commit, len(lines) - 1)
        oid = repository.add(header["summary"], files)
        kind, id = self._key(request)
        address = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{id}/commit/{oid}"
        told = {"success": True, "commitUrl": address, "commitOid": oid, "hookOutput": ""}
        if self.faults.get("answer"):
            # The commit has happened, but nobody learns of it.
            return await self._misbehave(request, self.faults["answer"].popleft()) or error(500, "")
        return web.json_response(told)

    async def tag(self, request: web.Request) -> web.Response:
        repository, (oid, _) = self._find(request), self._at(request)
        name = (await request.json())["tag"]
        if name in repository.tags:
            return error(409, "Tag reference exists already")
        repository.tags[name] = oid
        return web.Response()

    async def settings(self, request: web.Request) -> web.Response:
        self._may_write(request.match_info["org"])
        repository = self._find(request)
        repository.private = (await request.json())["visibility"] == "private"
        return web.json_response({"private": repository.private})

    async def validate(self, request: web.Request) -> web.Response:
        from huggingface_hub import DatasetCard, ModelCard

        body = await request.json()
        card = DatasetCard if body["repoType"] == "dataset" else ModelCard
        try:
            card(body["content"], ignore_metadata_errors=False)
        except ValueError as wrong:
            return web.json_response({"errors": [{"message": str(wrong)}]}, status=400)
        empty = [] if body["content"].startswith("---") else [{"message": "empty metadata"}]
        return web.json_response({"errors": [], "warnings": empty})

    async def offer_xet(self, request: web.Request) -> web.Response:
        return web.json_response({}, headers=self.xet) if self.xet else error(404, "Not found")

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        oid, files = self._at(request)
        stored = files.get(request.match_info["path"])
        if stored is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid}
            return error(404, "Entry not found", headers)
        content, etag = self._bytes(stored), stored.sha256 or stored.blob
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if stored.sha256:
            headers |= {"X-Linked-Size": str(stored.size), "X-Linked-Etag": f'"{etag}"'}
        part = request.http_range
        if "Range" in request.headers:
            start = len(content) + part.start if (part.start or 0) < 0 else part.start or 0
            stop = min(part.stop or len(content), len(content))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            return web.Response(status=206, body=content[start:stop], headers=headers)
        return web.Response(body=content, headers=headers)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30, middlewares=[self.guard, refusals])
        repo = "/{type:models|datasets}/{org}/{name}"
        git = "{org}/{name:[^/]+?}.git/info/lfs/objects"
        routes: list[tuple[str, str, Any, str]] = [
            ("GET", "/api/whoami-v2", self.whoami, "whoami"),
            ("POST", "/api/repos/create", self.create, "create"),
            ("POST", "/api/validate-yaml", self.validate, "validate"),
            ("GET", f"/api{repo}", self.info, "info"),
            ("GET", f"/api{repo}/revision/{{revision:.+}}", self.info, "info-revision"),
            ("GET", f"/api{repo}/refs", self.refs, "refs"),
            ("GET", f"/api{repo}/tree/{{revision}}", self.tree, "tree"),
            ("GET", f"/api{repo}/tree/{{revision}}/{{path:.*}}", self.tree, "tree-path"),
            ("POST", f"/api{repo}/paths-info/{{revision}}", self.paths_info, "paths"),
            ("POST", f"/api{repo}/preupload/{{revision}}", self.preupload, "preupload"),
            ("POST", f"/api{repo}/commit/{{revision}}", self.commit, "commit"),
            ("POST", f"/api{repo}/tag/{{revision}}", self.tag, "tag"),
            ("PUT", f"/api{repo}/settings", self.settings, "settings"),
            ("GET", f"/api{repo}/xet-write-token/{{revision}}", self.offer_xet, "xet"),
            ("POST", f"/{{type:datasets}}/{git}/batch", self.batch, "batch"),
            ("POST", f"/{git}/batch", self.batch, "batch-model"),
            ("POST", f"/{{type:datasets}}/{git}/verify", self.verify, "verify"),
            ("POST", f"/{git}/verify", self.verify, "verify-model"),
            ("PUT", "/storage/{oid}", self.upload, "upload"),
            ("PUT", r"/storage/{oid}/{part:\d+}", self.upload_part, "upload-part"),
            ("POST", "/storage/{oid}/all", self.upload_all, "upload-all"),
        ]
        for prefix, kind in (("/{type:datasets}", "resolve"), ("", "resolve-model")):
            path = f"{prefix}/{{org}}/{{name}}/resolve/{{revision}}/{{path:.+}}"
            routes.append(("GET", path, self.resolve, kind))
        for method, path, handler, name in routes:
            app.router.add_route(method, path, handler, name=name)
            if name.startswith("resolve"):
                app.router.add_route("HEAD", path, handler, name=f"{name}-head")
        return app


class _Refused(Exception):
    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


@web.middleware
async def refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        return await handler(request)  # type: ignore[no-any-return]
    except _Refused as refused:
        return refused.response


def told_of(name: str, one: Stored) -> dict[str, Any]:
    """Tell of a file as the Hub does."""
    told: dict[str, Any] = {"type": "file", "path": name, "oid": one.blob, "size": one.size}
    if one.sha256:
        told["lfs"] = {"oid": one.sha256, "size": one.size, "pointerSize": 100}
    return told


def error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as the Hub words it."""
    known = {"X-Error-Message": message, **(headers or {})}
    return web.json_response({"error": message}, status=status, headers=known)


@contextmanager
def serving() -> Iterator[Server]:
    """Serve while the block runs, on a port of the loopback that nobody uses."""
    server = Server()
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop: list[asyncio.Event] = []

    async def serve() -> None:
        stop.append(asyncio.Event())
        runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=128)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        server.url = f"http://127.0.0.1:{port}"
        started.set()
        await stop[0].wait()
        await runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def work() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        server.stalls_after = None
        loop.call_soon_threadsafe(stop[0].set)
        thread.join(10)
