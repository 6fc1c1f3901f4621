"""`kubelet.cri.Runtime` on Docker: sandboxes, containers, images, exec, logs, the pod network and the pod cgroups.

Lives here: everything that knows Docker, cgroup files, network namespaces or nftables. May not live here: anything
that knows what a Pod's spec means (the kubelet above decides that) or how the API server is reached.

`docker.py` is the way in (`DockerRuntime`); the other files are its parts, each usable and tested alone.
"""
