"""The network agent of a node: Service addresses, routes between nodes, and what may leave the cluster.

Lives here: the model of Services and their endpoints (`services`), its translation into nftables (`rules`), the
routes to other nodes' pods (`routes`), stale UDP flows (`conntrack`), and the agent that keeps them all up to date.
May not live here: pod interfaces and addresses; those are the kubelet's.
"""
