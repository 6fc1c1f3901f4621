"""`kubectl kustomize` and `-k`: overlays without templates, as the kustomize project defines them.

Here is what nearly every kustomization uses: resources and components, name prefixes and suffixes, namespaces, labels,
annotations, images, replicas, generated ConfigMaps and Secrets with their hashes, and patches (strategic merge and
RFC 6902), with every reference to a renamed object following it. What is not here (Helm charts, plugins, remote
resources, replacements, vars) is refused by name, never passed over: the program `kustomize` builds those, and
`kustomize build | pykubectl apply -f -` applies them.

`build` puts the parts together, `files` reads, `generate` makes, `transform`, `fields` and `patch` change, `references`
renames.
"""

from __future__ import annotations

from cli.kustomize.build import build

__all__ = ["build"]
