"""How fast an API server answers: `python -m bench.apiserver`, against any Kubernetes-compatible one."""
