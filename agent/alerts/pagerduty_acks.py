"""PagerDuty with a REST key: what people acknowledge there is taken over here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from agent.alerts.answers import demand_success
from agent.alerts.pagerduty import PagerDutyChannel
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.alerts.pagerduty import PagerDutyOptions
    from agent.alerts.tools import Tools
    from agent.model import Alert

ASK_EVERY_S = 60.0
"""PagerDuty allows 960 requests a minute and key (https://developer.pagerduty.com/docs/rest-api-rate-limits)."""
_HOSTS = {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}
_ACCEPT = "application/vnd.pagerduty+json;version=2"
_ADVICE = {401: "api_token is not accepted", 403: "api_token may not read incidents"}
_TAKEN_OVER = "acknowledged there"


class ListeningPagerDuty(PagerDutyChannel):
    """Asks once a minute whether anybody has acknowledged what is open (GET /incidents of the REST API v2).

    An acknowledgement is taken over once: one that ends there, or that a worsening has ended here, does not
    come back.
    """

    refresh_every_s = ASK_EVERY_S

    def __init__(self, name: str, options: PagerDutyOptions, tools: Tools) -> None:
        super().__init__(name, options, tools.http(options.http))
        self._notes = tools.notes
        self._clock = tools.clock

    def refresh(self, alerts: Sequence[Alert]) -> None:
        """Ask about every open incident that was not acknowledged there before. Raises DeliveryError."""
        for alert in alerts:
            note = self._notes.read(self.name, alert.incident_id)
            by = None if note.get(_TAKEN_OVER) else self._acknowledged_by(alert)
            if by is not None:
                self._notes.write(self.name, alert.incident_id, note | {_TAKEN_OVER: True})
                wall_s = self._clock.now().wall_s
                self._notes.acknowledge(alert.incident_id, by, f"acknowledged in {self.name}", wall_s)

    def _acknowledged_by(self, alert: Alert) -> str | None:
        """Return who has acknowledged an incident; None where nobody has."""
        options = self._options
        query = urlencode({"incident_key": alert.dedup_key, "statuses[]": "acknowledged", "limit": "1"})
        address = (options.api_url or _HOSTS[options.region]).rstrip("/")
        key = options.api_token.reveal() if options.api_token else ""
        headers = {"Authorization": f"Token token={key}", "Accept": _ACCEPT}
        response = self._http.get(f"{address}/incidents?{query}", headers)
        demand_success(response, address, advice=_ADVICE)
        return _acknowledger(response.body)


def _acknowledger(body: bytes) -> str | None:
    """Return the name in the newest acknowledgement of an answer; None for an answer without an incident."""
    try:
        incidents = json.loads(body)["incidents"]
        first: dict[str, Any] | None = incidents[0] if incidents else None
        if first is None or first["status"] != "acknowledged":
            return None
        given = first.get("acknowledgements") or [{}]
        name = (given[-1].get("acknowledger") or {}).get("summary") or "somebody"
        return one_line(str(name), MAX_NAME_CHARS)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
