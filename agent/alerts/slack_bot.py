"""Slack through a bot: one message an incident, changed in place, the story and the picture in its thread."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.alerts import chart
from agent.alerts.base import DeliveryError
from agent.alerts.slack_api import NOT_DONE, SlackApi, SlackError, UnreadableAnswerError
from agent.alerts.slack_blocks import payload, reply
from agent.alerts.slack_thread import Posted, SlackThread
from agent.alerts.wording import first_line
from agent.logs import log_event
from agent.model import State, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.slack import SlackOptions
    from agent.alerts.tools import Tools
    from agent.model import Alert

logger = logging.getLogger(__name__)

EVENT_TYPE = "leakwatch_incident"
"""Marks our messages (https://docs.slack.dev/messaging/message-metadata)."""
SEARCHED_S = 300.0
"""A message is looked for so long before and after it was begun: the clocks may differ."""
PAGE, MAX_PAGES = 10, 5
"""Messages asked for at once, few enough for the longest ones; and how often."""

_MESSAGE_GONE = {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
_BLOCKS_REFUSED = {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"}
_ID = re.compile(r"[CGD][A-Z0-9]{7,}")


class SlackBot:
    """Posts, changes and answers its own messages in one channel.

    Before a message or a reply is posted, a note says so; after it, what Slack called it. Where the second
    note is missing (a crash, an answer that was lost), the message is looked for by its metadata, and
    posted again only when it is not found. That needs the scope channels:history (groups:history for
    private channels) and the channel's ID; without them such a message can stand there twice.
    """

    def __init__(self, name: str, options: SlackOptions, tools: Tools) -> None:
        self.name = name
        self._channel = options.channel or ""
        self._api = SlackApi(tools.http(options.http), options.api_url, options.token)
        self._notes = tools.notes
        self._clock = tools.clock
        self._no_picture = ""

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what a channel of people is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Post or change the message, then tell the transition in its thread. Raises DeliveryError."""
        before = SlackThread.from_note(self._notes.read(self.name, alert.incident_id), self._channel)
        thread = self._changed(alert, before) if before.ts else self._posted(alert, before)
        if alert.headline and not before.ts:
            return  # its message tells it as a whole
        thread = self._answered(alert, thread)
        self._draw(alert, thread)

    def _posted(self, alert: Alert, thread: SlackThread) -> SlackThread:
        found = self._found(alert, thread, "message", "conversations.history")
        if found is None:
            message = {"channel": self._channel, **payload(alert), **_marked(alert)}
            found = self._begin(alert, thread, "message", message)
        return self._keep(alert, replace(thread, channel_id=found.channel_id, ts=found.ts, begun=""))

    def _changed(self, alert: Alert, thread: SlackThread) -> SlackThread:
        message = {"channel": thread.channel_id, "ts": thread.ts, **payload(alert), **_marked(alert)}
        try:
            self._call("chat.update", message)
        except SlackError as error:
            if error.word not in _MESSAGE_GONE:
                raise
            return self._posted(alert, SlackThread(self._channel))
        return thread

    def _answered(self, alert: Alert, thread: SlackThread) -> SlackThread:
        """Tell the transition in the thread, and a leak that became critical in the channel too."""
        if alert.sequence <= thread.told:
            return thread
        if self._found(alert, thread, "reply", "conversations.replies") is None:
            worse = alert.transition is Transition.WORSENED and alert.severity is State.CRITICAL
            message = {
                "channel": thread.channel_id,
                "thread_ts": thread.ts,
                "text": reply(alert),
                "reply_broadcast": worse,
                **_marked(alert),
            }
            self._begin(alert, thread, "reply", message)
        return self._keep(alert, replace(thread, told=alert.sequence, begun=""))

    def _begin(self, alert: Alert, thread: SlackThread, what: str, message: dict[str, Any]) -> Posted:
        """Note what is begun, post it, return what Slack calls it; a clear no takes the note back."""
        self._keep(alert, replace(thread, begun=what, begun_wall_s=self._clock.now().wall_s))
        try:
            answer = self._call("chat.postMessage", message | {"unfurl_links": False, "unfurl_media": False})
        except DeliveryError as error:
            if error.permanent or (isinstance(error, SlackError) and error.word in NOT_DONE):
                self._keep(alert, replace(thread, begun=""))
            raise
        return Posted(str(answer.get("channel", "")), str(answer.get("ts", "")))

    def _call(self, method: str, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._api.call(method, message)
        except SlackError as error:
            if error.word not in _BLOCKS_REFUSED:
                raise
        plain = {key: value for key, value in message.items() if key != "blocks"}
        return self._api.call(method, plain)

    def _keep(self, alert: Alert, thread: SlackThread) -> SlackThread:
        self._notes.write(self.name, alert.incident_id, thread.to_note())
        return thread

    def _found(self, alert: Alert, thread: SlackThread, what: str, method: str) -> Posted | None:
        """Return the names of a message of which nobody knows whether it was posted; None when it was not.

        Raises DeliveryError when Slack cannot be asked at present.
        """
        channel_id = thread.channel_id or self._channel
        if thread.begun != what or not _ID.fullmatch(channel_id):
            return None
        where = {"channel": channel_id} | ({"ts": thread.ts} if what == "reply" else {})
        try:
            for message in self._near(where, thread.begun_wall_s, method):
                if message.get("metadata") == _marked(alert)["metadata"]:
                    return Posted(channel_id, str(message.get("ts", "")))
        except (SlackError, UnreadableAnswerError) as error:
            if isinstance(error, SlackError) and not error.permanent:
                raise
        return None

    def _near(self, where: dict[str, str], wall_s: float, method: str) -> Iterator[dict[str, Any]]:
        """Yield the messages around a moment."""
        asked: dict[str, str | int] = {
            **where,
            "oldest": f"{wall_s - SEARCHED_S:.6f}",
            "latest": f"{wall_s + SEARCHED_S:.6f}",
            "limit": PAGE,
            "include_all_metadata": "true",
        }
        for _ in range(MAX_PAGES):
            answer = self._api.ask(method, asked)
            yield from (m for m in answer.get("messages", ()) if isinstance(m, dict))
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = str(cursor)

    def _draw(self, alert: Alert, thread: SlackThread) -> None:
        """Put the picture into the thread, at most once: an alert does not wait for it, nor fail with it."""
        if alert.sequence <= thread.drawn or alert.transition is Transition.ACKNOWLEDGED:
            return
        picture = chart.png(alert)
        if picture is None:
            return
        self._keep(alert, replace(thread, drawn=alert.sequence))
        try:
            self._upload(alert, thread, picture)
        except DeliveryError as error:
            self._tell_no_picture(str(error))

    def _upload(self, alert: Alert, thread: SlackThread, picture: bytes) -> None:
        """Upload in three steps (https://docs.slack.dev/messaging/working-with-files#upload)."""
        title = first_line(alert)
        named: dict[str, str | int] = {"filename": chart.NAME, "length": len(picture), "alt_txt": title}
        place = self._api.ask("files.getUploadURLExternal", named)
        self._api.upload(str(place.get("upload_url", "")), picture)
        file = {"id": str(place.get("file_id", "")), "title": title}
        target = {"channel_id": thread.channel_id, "thread_ts": thread.ts}
        self._api.call("files.completeUploadExternal", {"files": [file], **target})

    def _tell_no_picture(self, why: str) -> None:
        """Log it once for each cause."""
        if why != self._no_picture:
            self._no_picture = why
            log_event(logger, "refused", level=logging.WARNING, channel=self.name, what="chart", why=why)


def _marked(alert: Alert) -> dict[str, Any]:
    known = {"incident": alert.incident_id, "sequence": alert.sequence}
    return {"metadata": {"event_type": EVENT_TYPE, "event_payload": known}}
