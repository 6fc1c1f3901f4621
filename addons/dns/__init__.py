"""Cluster DNS: the `kube-dns` Service's server.

`records` knows what a name means (the Kubernetes DNS specification 1.1.0), `server` speaks the protocol, `forward`
asks the node's resolvers about everything outside of the cluster.
"""
