"""What HTTP itself costs here: the server of the roles, with an application that does nothing.

python -m benchmarks.empty_server PORT
"""

import sys

import uvicorn
from litestar.types import Receive, Scope, Send

from infrastructure import garbage


async def answer(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


if __name__ == "__main__":
    garbage.seldom()
    uvicorn.run(
        answer,  # type: ignore[arg-type]  # Litestar's names for the same shapes
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
    )
