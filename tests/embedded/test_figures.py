"""The figures of all roles in one place, and what stands in the way of telling them."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, Gauge

from infrastructure.embedded.figures import gathered
from infrastructure.embedded.instance import Instance
from infrastructure.settings import SettingsError, load
from infrastructure.telemetry import metrics_text, serve_metrics

THEIRS = """\
# HELP planted_total Planted
# TYPE planted_total counter
planted_total{kind="a"} 3.0
# HELP planted_created Planted
# TYPE planted_created gauge
planted_created{kind="a"} 1.7e+09
# HELP empty_total Nothing yet
# TYPE empty_total counter
# HELP process_open_fds Number of open file descriptors.
# TYPE process_open_fds gauge
process_open_fds 7.0
"""


class _Figures(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(THEIRS.encode("latin-1"))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def instance(tmp_path) -> Instance:
    return Instance(tmp_path)


@pytest.fixture
def projector(instance) -> Iterator[int]:
    port = instance.give_metrics_port("projector")
    server = http.server.HTTPServer(("127.0.0.1", port), _Figures)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield port
    server.shutdown()
    server.server_close()


def test_another_roles_figures_stand_beside_ours_under_its_name():
    text = metrics_text({"projector": THEIRS}).decode()
    assert 'planted_total{kind="a",role="projector"} 3.0' in text
    assert "# TYPE empty_total counter" in text
    assert 'process_open_fds{role="projector"} 7.0' in text
    assert "planted_created" not in text


def test_each_family_is_told_once_and_ours_carry_no_role():
    text = metrics_text({"projector": THEIRS, "relay": THEIRS}).decode()
    types = [line for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))
    ours = {family.name for family in REGISTRY.collect()}
    assert "python_info" in ours
    assert "python_info{implementation" in text


def test_asking_again_adds_nothing():
    text = metrics_text({}).decode().replace("python_info{", 'python_info{role="none",')
    first, second = (metrics_text({"projector": text}).decode() for _ in range(2))
    assert first.count("python_info{") == second.count("python_info{") == 2


def test_whoever_else_took_a_roles_port_is_left_out(instance, projector, monkeypatch):
    for other in ("<html>", "\xff"):
        monkeypatch.setattr(f"{__name__}.THEIRS", other)
        assert gathered(instance) == {}
    assert REGISTRY.get_sample_value("appizer_role_up", {"role": "projector"}) == 0


def test_a_figure_named_for_a_role_is_that_roles_alone():
    text = "# TYPE appizer_relay_position gauge\nappizer_relay_position 5.0\n"
    Gauge("appizer_relay_planted", "Of code that is loaded and does not run here")
    told = metrics_text({"projector": text, "relay": text}).decode()
    found = [line for line in told.splitlines() if line.startswith("appizer_relay_position")]
    assert found == ['appizer_relay_position{role="relay"} 5.0']
    assert "planted" not in told


def test_a_role_that_does_not_answer_is_left_out_and_told(instance, projector):
    instance.give_metrics_port("relay")
    assert gathered(instance) == {"projector": THEIRS}
    assert REGISTRY.get_sample_value("appizer_role_up", {"role": "projector"}) == 1
    assert REGISTRY.get_sample_value("appizer_role_up", {"role": "relay"}) == 0


def test_a_role_keeps_its_port_and_shares_it_with_nobody(instance):
    first = instance.give_metrics_port("projector")
    assert instance.give_metrics_port("relay") != first
    assert instance.give_metrics_port("projector") == first
    with socket.create_server(("127.0.0.1", first)):
        assert instance.give_metrics_port("projector") != first


def test_a_taken_port_is_one_line_that_names_the_setting():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        given = {"APPIZER_DATABASE_URL": "postgresql://x", "APPIZER_METRICS_PORT": str(port)}
        with pytest.raises(SettingsError, match=f"^APPIZER_METRICS_PORT: .*port {port} .* in use"):
            serve_metrics("projector", load(given))
