"""The node agent: makes the pods that are bound to its node real, and reports what became of them.

Lives here: pod workers, probes, volumes, node status, and `cri`, the runtime interface with its Docker
implementation under `runtime/`. May not live here: service routing (that is `proxy`), and any knowledge of how the
node itself was made (a container of docker-compose or a machine).
"""
