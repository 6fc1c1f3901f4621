"""Routes to pods on the API server's machine: real ones, in a network namespace of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]

PROGRAM = textwrap.dedent("""
    import asyncio, subprocess
    from api.types.core_v1 import Node, NodeAddress, NodeSpec, NodeStatus
    from api.types.meta_v1 import ObjectMeta
    from apiserver.pod_routes import PodRoutes
    from apiserver.registry import Registry
    from apiserver.store.memory import MemoryStore
    from component import loops

    def shown():
        return subprocess.run(["ip", "-j", "route", "show", "proto", "98"], capture_output=True, check=True).stdout

    async def run():
        subprocess.run("ip link add up0 type veth peer name up1".split(), check=True)
        subprocess.run("ip address add 198.18.0.1/24 dev up0".split(), check=True)
        for name in "up0", "up1":
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        registry = Registry(MemoryStore())
        await registry.start()
        feeding = asyncio.create_task(registry.feed.run())
        node = Node(metadata=ObjectMeta(name="n1"), spec=NodeSpec(pod_cidr="10.244.1.0/24"))
        node.status = NodeStatus(addresses=[NodeAddress(type="InternalIP", address="198.18.0.2")])
        await registry.create(node)
        routing = asyncio.create_task(PodRoutes(registry, "10.244.0.0/16").run())
        async with asyncio.timeout(60):
            while b"10.244.1.0/24" not in shown():
                await asyncio.sleep(0.1)
        print(shown().decode())
        routing.cancel()
        feeding.cancel()

    with asyncio.Runner(loop_factory=loops.serving) as runner:
        runner.run(run())
""")


def test_pods_of_a_node_are_reached_through_it_and_all_others_not_at_all() -> None:
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    routes: list[dict[str, Any]] = json.loads(done.stdout)
    found = {route["dst"]: (route.get("type"), route.get("gateway")) for route in routes}
    assert found == {"10.244.1.0/24": (None, "198.18.0.2"), "10.244.0.0/16": ("unreachable", None)}
