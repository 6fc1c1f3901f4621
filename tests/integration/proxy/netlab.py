"""A node, its pods and a client outside of the cluster, as network namespaces joined by veth pairs.

client 198.18.0.2 ---- 198.18.0.1 node 10.244.1.1 ==cbr0== pods 10.244.1.x
                                   |
                                 uplink, the default route: swallows what should have been rejected
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

NODE_IP = "198.18.0.1"
CLIENT_IP = "198.18.0.2"

# Answers each connection or datagram with its own name and the peer's address, as JSON.
_SERVER = """
import json, socket, socketserver, sys, threading
name, port = sys.argv[1], int(sys.argv[2])
def reply(peer): return json.dumps([name, peer[0]]).encode()
class Tcp(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(reply(self.client_address))
class Udp(socketserver.BaseRequestHandler):
    def handle(self): self.request[1].sendto(reply(self.client_address), self.client_address)
socketserver.ThreadingTCPServer.allow_reuse_address = True
tcp = socketserver.ThreadingTCPServer(("0.0.0.0", port), Tcp)
threading.Thread(target=tcp.serve_forever, daemon=True).start()
udp = socketserver.ThreadingUDPServer(("0.0.0.0", port), Udp)
print("ready", flush=True)
udp.serve_forever()
"""

_ASK = """
import json, socket, sys
kind, ip, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
answers = []
for _ in range(count):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        try:
            s.connect((ip, port))
            if kind == "udp": s.send(b"?")
            answers.append(json.loads(s.recv(1000)))
        except OSError as e:
            answers.append([type(e).__name__, ""])
print(json.dumps(answers))
"""


@dataclass
class NetLab:
    prefix: str = field(default_factory=lambda: f"pk{uuid.uuid4().hex[:5]}")
    servers: list[subprocess.Popen[str]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)

    def namespace(self, name: str) -> str:
        full = f"{self.prefix}-{name}"
        if full not in self.namespaces:
            run("ip", "netns", "add", full)
            self.namespaces.append(full)
            self.run(name, "ip", "link", "set", "lo", "up")
        return full

    def run(self, where: str, *command: str, script: str | None = None) -> str:
        return run("ip", "netns", "exec", f"{self.prefix}-{where}", *command, script=script)

    def build(self) -> None:
        node, client = self.namespace("node"), self.namespace("client")
        run("ip", "link", "add", "eth0", "netns", node, "type", "veth", "peer", "name", "eth0", "netns", client)
        self.run("node", "ip", "addr", "add", f"{NODE_IP}/24", "dev", "eth0")
        self.run("client", "ip", "addr", "add", f"{CLIENT_IP}/24", "dev", "eth0")
        for where in ("node", "client"):
            self.run(where, "ip", "link", "set", "eth0", "up")
        self.run("client", "ip", "route", "add", "default", "via", NODE_IP)
        self.run("node", "ip", "link", "add", "uplink", "type", "bridge")
        self.run("node", "ip", "link", "set", "uplink", "up")
        self.run("node", "ip", "route", "add", "default", "dev", "uplink")
        self.run("node", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.run("node", "ip", "link", "add", "cbr0", "type", "bridge")
        self.run("node", "ip", "addr", "add", "10.244.1.1/24", "dev", "cbr0")
        self.run("node", "ip", "link", "set", "cbr0", "up")

    def pod(self, name: str, ip: str, port: int = 8080) -> None:
        """A pod at `ip` that answers on `port`, TCP and UDP, with its name and who it thinks asked."""
        namespace = self.namespace(name)
        peer = f"v{name}"
        run("ip", "link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", peer, "netns",
            f"{self.prefix}-node")  # fmt: skip
        self.run("node", "ip", "link", "set", peer, "master", "cbr0", "up")
        self.run("node", "bridge", "link", "set", "dev", peer, "hairpin", "on")
        self.run(name, "ip", "addr", "add", f"{ip}/24", "dev", "eth0")
        self.run(name, "ip", "link", "set", "eth0", "up")
        self.run(name, "ip", "route", "add", "default", "via", "10.244.1.1")
        self.serve(name, port)

    def serve(self, where: str, port: int) -> None:
        command = ["ip", "netns", "exec", f"{self.prefix}-{where}", sys.executable, "-c", _SERVER, where, str(port)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

    def ask(self, where: str, ip: str, port: int, *, kind: str = "tcp", count: int = 1) -> list[tuple[str, str]]:
        """Connect `count` times; each answer is (who answered, whom it saw) or (name of the error, "")."""
        output = self.run(where, sys.executable, "-c", _ASK, kind, ip, str(port), str(count))
        return [(who, peer) for who, peer in json.loads(output)]

    def nft(self, script: str) -> None:
        self.run("node", "nft", "-f", "-", script=script)

    def close(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        for namespace in self.namespaces:
            run("ip", "netns", "del", namespace)


def run(*command: str, script: str | None = None) -> str:
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}\n{script or ''}"
    return done.stdout


@contextlib.contextmanager
def netlab() -> Iterator[NetLab]:
    lab = NetLab()
    try:
        lab.build()
        yield lab
    finally:
        lab.close()
