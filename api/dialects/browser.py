"""The documents that the browser SDKs of Segment and RudderStack fetch before they send anything.

They say where to send and what else to load: to us, and nothing. Checked with the captures of
analytics-next 1.84.3 and with `isValidSourceConfig` of @rudderstack/analytics-js 3.
"""

from typing import Any
from urllib.parse import urlsplit


def segment_settings(url: str, write_key: str) -> dict[str, Any]:
    """GET /v1/projects/{write_key}/settings. `url`: our own address as browsers see it. Without a
    sample rate of 0 the SDK would send metrics of its own to Segment.
    """
    address = urlsplit(url)
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": f"{address.netloc}{address.path.rstrip('/')}/v1",
                "protocol": address.scheme,
                "addBundledMetadata": True,
                "unbundledIntegrations": [],
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {
            "track": {"__default": {"enabled": True, "integrations": {}}},
            "identify": {"__default": {"enabled": True}},
            "group": {"__default": {"enabled": True}},
        },
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def rudderstack_source(url: str, write_key: str) -> dict[str, Any]:
    """GET /sourceConfig/?writeKey=…; the SDK is told to report neither errors nor metrics."""
    silent = {"errors": {"enabled": False}, "metrics": {"enabled": False}}
    return {
        "source": {
            "id": write_key,
            "name": "appizer",
            "writeKey": write_key,
            "workspaceId": "appizer",
            "enabled": True,
            "config": {"statsCollection": silent},
            "destinations": [],
            "connections": [],
            "dataplanes": {},
            "dataPlaneUrl": url.rstrip("/"),
            "updatedAt": "2026-01-01T00:00:00.000Z",
        }
    }
