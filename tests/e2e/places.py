"""A server over TLS or on a Unix socket, certificates for tests, and sockets that speak to it. Standard library and openssl."""
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time

import serving


def make_certificate(folder, name="localhost", kind="ec", days=90):
    """(certificate, key): paths"""
    if not shutil.which("openssl"):
        serving.skip("openssl, the command, is not installed")
    cert, key = f"{folder}/{name}-{kind}.pem", f"{folder}/{name}-{kind}.key"
    kinds = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}
    subprocess.run(["openssl", "req", "-x509", "-newkey", *kinds[kind], "-nodes", "-keyout", key, "-out", cert, "-days",
                    str(days), "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"],
                   check=True, stderr=subprocess.DEVNULL)
    return cert, key


def context_for(cert, alpn=None, newest=None):
    context = ssl.create_default_context(cafile=cert)
    if alpn:
        context.set_alpn_protocols(alpn)
    if newest:
        context.maximum_version = newest
    return context


class Secure(serving.Server):
    def __init__(self, cert, key, *args, env=None):
        self.cert = cert
        super().__init__("--tls-cert", cert, "--tls-key", key, *args, env=env)

    def open(self, context=None, session=None):
        raw = socket.create_connection(("127.0.0.1", self.port), 20)
        return (context or context_for(self.cert)).wrap_socket(raw, server_hostname="localhost", session=session)

    def request(self, path, body=None, timeout=60):
        c = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context_for(self.cert))
        return exchange(c, path, body)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Local(serving.Server):
    """Only on a Unix socket."""

    def __init__(self, path, *args, env=None):
        self.path = path
        super().__init__("--port", "off", "--unix-socket", path, *args, env=env)

    def request(self, path, body=None, timeout=60):
        return exchange(UnixConnection(self.path, timeout), path, body)


def exchange(connection, path, body=None, headers=None):
    """(status, decoded JSON)"""
    try:
        data = None if body is None else json.dumps(body)
        connection.request("POST" if data else "GET", path, data, {"Content-Type": "application/json", **(headers or {})})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def front_pid(server):
    with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children") as f:
        for pid in f.read().split():
            with open(f"/proc/{pid}/cmdline") as g:
                if g.read().startswith("embellama: front"):
                    return int(pid)
    raise AssertionError("no front")


def wait_for_log(server, text, times=1):
    for _ in range(400):
        if server.read_log().count(text) >= times:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {text} in the log:\n" + server.read_log())


def read_all(s):
    data = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            return data
        data += piece


def curl(*args):
    if not shutil.which("curl"):
        serving.skip("curl is not installed")
    return subprocess.run(["curl", "-sS", "--max-time", "20", *args], capture_output=True, text=True,
                          env={**os.environ, "no_proxy": "*"})
