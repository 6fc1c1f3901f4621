"""The kubelet's gRPC `Node` service: what the apiserver asks of a node about running containers.

Lives here: logs, exec, attach, port-forward, statistics and metrics as streams, over mutual TLS. May not live here:
deciding what a pod should do; pods are looked up through `PodLookup`, containers through `kubelet.cri.Runtime`.
"""
