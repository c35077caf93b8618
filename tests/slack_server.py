"""A Slack on loopback that keeps to the documented Web API: it refuses what Slack refuses.

with SlackServer() as slack:
    slack.fail("chat.postMessage", "ratelimited", headers={"Retry-After": "7"})
    ...                                    # a bot with slack.options()
    (message,) = slack.messages            # as readers see it now, its thread in slack.replies(message)
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from channel_cases import PATIENT
from receiver import Receiver, Request
from slack_sdk.models.blocks import Block

from agent.alerts.slack import SlackOptions
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.alerts.options import HttpOptions

TOKEN = "xoxb-17-botTokenSecret"
CHANNEL_ID, CHANNEL_NAME = "C0123456789", "alerts"
FIRST_TS_S = 1_800_000_000
READING = {"conversations.history", "conversations.replies", "files.getUploadURLExternal"}
"""Methods that take forms only."""


@dataclass(slots=True)
class Message:
    """One message or reply."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    thread_ts: str | None = None
    broadcast: bool = False
    edits: int = 0


@dataclass(slots=True)
class File:
    """An upload, shared once it was completed."""

    name: str
    length: int
    content: bytes = b""
    thread_ts: str | None = None
    title: str = ""


@dataclass(slots=True)
class Failure:
    """How one call goes wrong."""

    method: str
    word: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    lost: bool = False
    """It is done, and the answer does not arrive."""


class Refusal(Exception):  # noqa: N818 - an answer of Slack
    """`ok: false` with its word."""


class SlackServer(Receiver):
    """One workspace with one channel, and what was posted into it."""

    def __init__(self, scopes: str = "chat:write,files:write,channels:history") -> None:
        super().__init__()
        self.scopes = set(scopes.split(","))
        self.every: list[Message] = []
        self.files: dict[str, File] = {}
        self.calls: list[str] = []
        self._failures: deque[Failure] = deque()

    @property
    def messages(self) -> list[Message]:
        return [message for message in self.every if message.thread_ts is None]

    def replies(self, message: Message) -> list[Message]:
        return [reply for reply in self.every if reply.thread_ts == message.ts]

    def options(self, channel: str = CHANNEL_ID, http: HttpOptions = PATIENT) -> SlackOptions:
        return SlackOptions(token=Secret(TOKEN), channel=channel, api_url=f"{self.url}/api", http=http)

    def fail(self, method: str, word: str = "", **how: Any) -> None:
        """Let the next call of a method fail; the failures come in the order in which they are asked for."""
        self._failures.append(Failure(method, word, **how))

    def take(self, request: Request) -> Callable[[Any], None]:
        method = request.path.removeprefix("/api/")
        if request.path.startswith("/upload/"):
            self.files[method.removeprefix("/upload/")].content = request.body
            self.respond_with(200, body=b"OK - ok", times=1)
            return super().take(request)
        self.calls.append(method)
        failure = self._next_failure(method)
        answer: dict[str, Any]
        if failure and failure.word:
            answer = {"ok": False, "error": failure.word, **failure.more}
        else:
            answer = self._answered(method, request)
        if failure and failure.lost:
            self.reset(times=1)
        else:
            status = 429 if failure and "Retry-After" in failure.headers else 200
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                **(failure.headers if failure else {}),
            }
            self.respond_with(status, headers, json.dumps(answer).encode(), times=1)
        return super().take(request)

    def _next_failure(self, method: str) -> Failure | None:
        return self._failures.popleft() if self._failures and self._failures[0].method == method else None

    def _answered(self, method: str, request: Request) -> dict[str, Any]:
        try:
            self._authorize(request)
            does = getattr(self, "_" + method.replace(".", "_"))
            return {"ok": True, **does(_arguments(method, request))}
        except Refusal as refusal:
            word, *needed = refusal.args
            return {"ok": False, "error": word} | ({"needed": needed[0]} if needed else {})

    def _authorize(self, request: Request) -> None:
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            raise Refusal("invalid_auth")

    def _need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise Refusal("missing_scope", scope)

    def _chat_postMessage(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        self._need("chat:write")
        if given["channel"].lstrip("#") not in (CHANNEL_ID, CHANNEL_NAME):
            raise Refusal("channel_not_found")
        thread_ts = given.get("thread_ts")
        if thread_ts and thread_ts not in [message.ts for message in self.messages]:
            raise Refusal("thread_not_found")
        message = Message(f"{FIRST_TS_S + len(self.every)}.000100", *_content(given), thread_ts=thread_ts)
        message.broadcast = bool(given.get("reply_broadcast"))
        self.every.append(message)
        return {"channel": CHANNEL_ID, "ts": message.ts}

    def _chat_update(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["channel"] != CHANNEL_ID:
            raise Refusal("channel_not_found")
        found = [message for message in self.every if message.ts == given["ts"]]
        if not found:
            raise Refusal("message_not_found")
        found[0].text, found[0].blocks, found[0].metadata = _content(given)
        found[0].edits += 1
        return {"channel": CHANNEL_ID, "ts": found[0].ts}

    def _conversations_history(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._page(given, self.messages)

    def _conversations_replies(self, given: dict[str, Any]) -> dict[str, Any]:
        parent = next(message for message in self.messages if message.ts == given["ts"])
        return self._page(given, [parent, *self.replies(parent)])

    def _page(self, given: dict[str, Any], messages: list[Message]) -> dict[str, Any]:
        self._need("channels:history")
        if given["channel"] != CHANNEL_ID:
            raise Refusal("channel_not_found")
        oldest, latest = float(given["oldest"]), float(given["latest"])
        begin, limit = int(given.get("cursor", 0)), int(given["limit"])
        near = [message for message in messages if oldest < float(message.ts) < latest]
        shown = near[begin : begin + limit]
        more = str(begin + limit) if len(near) > begin + limit else ""
        whole = given.get("include_all_metadata") == "true"
        listed = [{"ts": m.ts, "text": m.text} | ({"metadata": m.metadata} if whole else {}) for m in shown]
        return {"messages": listed, "response_metadata": {"next_cursor": more}}

    def _files_getUploadURLExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        self._need("files:write")
        file_id = f"F{len(self.files):08}"
        self.files[file_id] = File(given["filename"], int(given["length"]))
        return {"upload_url": f"{self.url}/upload/{file_id}", "file_id": file_id}

    def _files_completeUploadExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        (told,) = given["files"]
        file = self.files[told["id"]]
        if len(file.content) != file.length or given["channel_id"] != CHANNEL_ID:
            raise Refusal("invalid_arguments")
        file.thread_ts, file.title = given["thread_ts"], told["title"]
        return {"files": [{"id": told["id"], "title": file.title}]}


def _arguments(method: str, request: Request) -> dict[str, Any]:
    form = request.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    if form != (method in READING):
        raise Refusal("invalid_arguments")
    return dict(parse_qsl(request.body.decode())) if form else dict(request.json())


def _content(given: dict[str, Any]) -> tuple[str, list[dict[str, Any]], dict[str, Any] | None]:
    blocks = given.get("blocks", [])
    for block in Block.parse_all(blocks):
        block.validate_json()
    if len(json.dumps(blocks, ensure_ascii=False)) > 13_200:
        raise Refusal("msg_blocks_too_long")
    if not given.get("text"):
        raise Refusal("no_text")
    return given["text"], blocks, given.get("metadata")
