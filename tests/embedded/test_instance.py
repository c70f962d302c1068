"""An instance's directory: held once, secret, and the same after a restart."""

import json
import os
import socket
from urllib.parse import urlsplit

import pytest

from infrastructure.embedded.instance import Instance, joined, write_secret
from infrastructure.embedded.ports import free_port, holder, is_free
from infrastructure.embedded.processes import CannotStart
from infrastructure.embedded.supervisor import check_address


@pytest.fixture
def instance(tmp_path) -> Instance:
    return Instance(tmp_path / "data")


def test_two_on_one_directory_is_an_error_that_names_the_first(instance):
    with (
        instance.held(),
        pytest.raises(CannotStart, match=rf"runs on .*data already \(pid {os.getpid()}\)"),
        Instance(instance.directory).held(),
    ):
        pass


def test_an_instance_runs_while_it_is_held_and_no_longer(instance):
    assert instance.running_pid() is None
    with instance.held():
        assert instance.running_pid() == os.getpid()
    assert instance.running_pid() is None


def test_passwords_and_ports_stay_the_same_over_restarts(instance):
    with instance.held():
        instance.configure(host="127.0.0.1", port=8080)
        first = instance.environment()
        instance.configure(host="127.0.0.1", port=8080)
    assert instance.environment() == first


def test_a_port_that_was_taken_meanwhile_is_replaced_and_the_password_is_not(instance):
    with instance.held():
        instance.configure(host="127.0.0.1", port=8080)
        before = urlsplit(instance.environment()["APPIZER_NATS_URL"])
        with socket.create_server(("127.0.0.1", before.port)):
            instance.configure(host="127.0.0.1", port=8080)
    after = urlsplit(instance.environment()["APPIZER_NATS_URL"])
    assert after.port != before.port
    assert after.password == before.password


def test_settings_are_those_of_the_file(instance):
    with instance.held():
        instance.configure(host="127.0.0.1", port=9000)
    settings = instance.settings()
    assert (settings.port, settings.data) == (9000, str(instance.directory))
    assert settings.database_url == instance.environment()["APPIZER_DATABASE_URL"]


def test_secrets_are_readable_by_their_owner_only(instance):
    with instance.held():
        instance.configure(host="127.0.0.1", port=8080)
    assert instance.file.stat().st_mode & 0o777 == 0o600


def test_a_secret_file_is_replaced_whole(tmp_path):
    file = tmp_path / "keys.json"
    (tmp_path / "keys.json.new").write_text("half of")
    write_secret(file, {"a": 1})
    write_secret(file, {"a": 2})
    assert json.loads(file.read_text()) == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_the_instances_own_settings_win_over_the_surroundings():
    outer = {"APPIZER_NATS_URL_FILE": "/run/x", "APPIZER_LOG_LEVEL": "debug", "PATH": "/bin"}
    assert joined(outer, {"APPIZER_NATS_URL": "nats://here"}) == {
        "APPIZER_LOG_LEVEL": "debug",
        "PATH": "/bin",
        "APPIZER_NATS_URL": "nats://here",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="root's directories are opened, others' need not be")
@pytest.mark.parametrize(("mode", "files", "after"), [(0o700, [], 0o711), (0o700, ["x"], 0o700)])
def test_only_an_empty_directory_or_ours_is_opened_for_passing_through(
    tmp_path, mode, files, after
):
    directory = tmp_path / "data"
    directory.mkdir(mode=mode)
    for name in files:
        (directory / name).touch()
    with Instance(directory).held():
        assert directory.stat().st_mode & 0o777 == after


def test_a_taken_port_is_told_with_its_holder_and_another_to_try():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert f"(pid {os.getpid()})" in holder(port)
        with pytest.raises(CannotStart, match=rf"port {port} is taken by .*--port {port + 1}"):
            check_address("127.0.0.1", port)


def test_an_address_that_is_not_this_machines_is_told():
    with pytest.raises(CannotStart, match=r"cannot listen on 192\.0\.2\.1"):
        check_address("192.0.2.1", free_port())
