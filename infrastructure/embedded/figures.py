"""The figures of an instance's roles: each serves them on a loopback port of its own, the API
gathers them.
"""

from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException

from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from infrastructure.embedded.instance import Instance

_PATIENCE_SECONDS = 2.0
_OK = 200

_up = Gauge(
    "appizer_role_up", "1 while the role, started by `appizer up`, tells its figures", ["role"]
)


def gathered(instance: Instance) -> dict[str, str]:
    """Role -> Prometheus text, without the roles that don't answer."""
    ports = instance.metrics_ports()
    with ThreadPoolExecutor(max(len(ports), 1)) as pool:
        texts = dict(zip(ports, pool.map(_text, ports.values()), strict=True))
    for role, text in texts.items():
        _up.labels(role).set(text is not None)
    return {role: text for role, text in texts.items() if text is not None}


def _text(port: int) -> str | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        list(text_string_to_metric_families(text))  # somebody else may have taken the port
    except (OSError, HTTPException, ValueError):
        return None
    else:
        return text if answer.status == _OK else None
    finally:
        connection.close()
