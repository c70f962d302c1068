"""`python healthy.py URL`: exits 0 when URL answers 2xx. The image has no curl."""  # noqa: INP001  a script, not a package

import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

parts = urlsplit(sys.argv[1])
connection = HTTPConnection(parts.hostname or "", parts.port, timeout=4)
try:
    connection.request("GET", parts.path)
    sys.exit(0 if connection.getresponse().status // 100 == 2 else 1)  # noqa: PLR2004  2xx
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
