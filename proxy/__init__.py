"""The network agent of a node: Service addresses, routes between nodes, and what may leave the cluster.

Lives here: the model of Services and their endpoints (`services`), its translation into nftables (`rules`, `claims`),
stale UDP flows (`conntrack`), load balancer addresses (`announce`, `health_ports`), and the agent that keeps them all
up to date, and with them the routes to other nodes' pods (`component.routes`). May not live here: pod interfaces and
addresses; those are the kubelet's.
"""
