"""The embedded NATS server: what it acknowledged survives, strangers stay outside."""

import asyncio
import os
import signal
import socket

import nats

from infrastructure.embedded.message_server import MessageServer
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.processes import wait_until_ready


async def publish(url: str, payloads: list[bytes]) -> None:
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="kept", subjects=["kept"])
    for payload in payloads:
        await stream.publish("kept", payload)
    await client.close()


async def stored(url: str) -> int:
    client = await nats.connect(url)
    count = (await client.jetstream().stream_info("kept")).state.messages
    await client.close()
    return count


def test_acknowledged_messages_survive_kill_9_and_a_new_start(message_server):
    asyncio.run(publish(message_server.url, [b"one", b"two"]))
    os.kill(message_server.pid, signal.SIGKILL)
    message_server.start()
    wait_until_ready(message_server, seconds=30)
    assert asyncio.run(stored(message_server.url)) == 2


def test_a_server_that_still_runs_on_the_directory_is_stopped_first(message_server):
    asyncio.run(publish(message_server.url, [b"one"]))
    second = MessageServer(
        message_server.data, port=free_port(), password="other", log=message_server.log
    )
    second.start()
    try:
        wait_until_ready(second, seconds=30)
        assert message_server.exit_code() is not None
        assert asyncio.run(stored(second.url)) == 1
    finally:
        second.stop()


def test_every_write_is_synced_before_it_is_acknowledged(message_server):
    configuration = (message_server.data / "nats-server.conf").read_text()
    assert "sync_interval: always" in configuration


def test_the_password_is_in_no_file_that_others_may_read(message_server):
    assert message_server.data.stat().st_mode & 0o077 == 0
    assert (message_server.data / "nats-server.conf").stat().st_mode & 0o077 == 0


def test_a_stranger_without_the_password_is_refused(message_server):
    with socket.create_connection(("127.0.0.1", message_server.port)) as stranger:
        stranger.sendall(b'CONNECT {"user":"appizer","pass":"wrong"}\r\nPING\r\n')
        with stranger.makefile("rb") as said:
            assert b"-ERR 'Authorization Violation'\r\n" in list(said)


def test_it_lives_in_a_directory_of_any_name(open_directory):
    server = MessageServer(
        open_directory / 'données "q" \\ $x',
        port=free_port(),
        password="plain",
        log=open_directory / "nats.log",
    )
    server.start()
    try:
        wait_until_ready(server, seconds=30)
        asyncio.run(publish(server.url, [b"one"]))
        assert (server.data / "jetstream").is_dir()
    finally:
        server.stop()
