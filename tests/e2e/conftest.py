"""`start` makes servers that end with the test."""
import os

import pytest

from processes import LOAD, api


@pytest.fixture
def start():
    if not os.path.exists(LOAD):
        pytest.skip(f"the load client is not at {LOAD}")
    servers = []

    def begin(*flags, **variables):
        servers.append(api.Server(*flags, **variables))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()
