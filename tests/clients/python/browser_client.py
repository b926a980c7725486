"""/docs in a headless Chromium: the page lists every route, opens one, sends its example and shows the reply.

Driven through the browser's own debugging port, with nothing but what aiohttp offers."""
import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import urllib.request

import aiohttp
from features import SETUP, URL, Client

PROGRAM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


class Browser(Client):
    def __init__(self):
        self.name, self.dialect, self.version = "Chromium, /docs", "description", "the system's"


class Page:
    """A page of a browser of our own; its profile goes with it."""

    async def __aenter__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
             f"--user-data-dir={self.profile.name}", "about:blank"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for line in self.process.stderr:
            if "DevTools listening on" in line:
                port = re.search(r":(\d+)/", line).group(1)
                break
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port}/json") as reply:
            target = next(t for t in await reply.json(content_type=None) if t["type"] == "page")
        self.socket = await self.session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        self.number, self.asked = 0, []
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        self.process.kill()
        self.process.wait()
        self.profile.cleanup()

    async def call(self, method, **parameters):
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            got = json.loads((await self.socket.receive(timeout=60)).data)
            if got.get("method") == "Network.requestWillBeSent":
                self.asked.append(got["params"]["request"]["url"])
            if got.get("id") == self.number:
                assert "error" not in got, got
                return got["result"]

    async def value(self, expression):
        got = (await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True))
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    async def until(self, expression):
        for _ in range(300):
            if await self.value(expression):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never: {expression}")


async def look(url, key, operation):
    """Opens an operation on the page and sends its first example; the number of operations, the reply shown, and what was loaded."""
    async with Page() as page:
        await page.call("Network.enable")
        await page.call("Page.enable")
        await page.call("Page.navigate", url=url + "/docs")
        await page.until("document.querySelectorAll('.op').length > 0")
        await page.value(f"document.getElementById('key').value = '{key}'")
        await page.value(f"document.querySelector('#{operation} summary').click()")
        await page.until(f"!!document.querySelector('#{operation} .send')")
        await page.value(f"document.querySelector('#{operation} .send').click()")
        await page.until(f"/^[0-9]/.test(document.querySelector('#{operation} .reply').textContent)")
        shown = await page.value(f"document.querySelector('#{operation} .reply').textContent")
        return await page.value("document.querySelectorAll('.op').length"), shown, page.asked


if PROGRAM:
    client = Browser()

    @client.feature("lists all routes")
    def _():
        with urllib.request.urlopen(URL + "/openapi.json", timeout=60) as reply:
            spec = json.load(reply)
        count, _, asked = asyncio.run(look(URL, "", "health"))
        assert count == sum(map(len, spec["paths"].values())), count
        strange = [a for a in asked if not a.startswith(URL)]
        assert not strange, f"loaded from elsewhere: {strange}"
        return f"{count} routes, {len(asked)} requests, all to the server"

    @client.feature("sends an example")
    def _():
        _, shown, _ = asyncio.run(look(URL, "", "createEmbeddings"))
        assert shown.startswith("200") and '"embedding"' in shown, shown[:300]

    @client.feature("key")
    def _():
        _, shown, _ = asyncio.run(look(SETUP["keyed"], "wrong", "createEmbeddings"))
        assert shown.startswith("401"), shown[:300]
        _, shown, _ = asyncio.run(look(SETUP["keyed"], SETUP["key"], "createEmbeddings"))
        assert shown.startswith("200"), shown[:300]
else:
    print(json.dumps({"not run": "no chromium here"}))
