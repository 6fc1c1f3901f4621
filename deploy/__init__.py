"""From a bare Debian machine to a running cluster.

What lives here: installing what the host lacks (`install`), building images (`images`, `wheels`, `preload`,
`dockerfiles/`), making the cluster's certificates (`pki`), bringing the compose project up and down (`cluster`,
`kubeconfig`), what a node container starts (`node/`), and the manifests every cluster gets (`addons/`).

What may not: anything a component needs at run time on a machine that does not use docker-compose. Nothing here is
imported by a component; `machine` and `install` use the standard library alone because they run before the venv exists.
"""
