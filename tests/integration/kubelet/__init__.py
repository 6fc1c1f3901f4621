"""The Docker runtime and the Node service against a real dockerd: real namespaces, cgroups, packets."""
