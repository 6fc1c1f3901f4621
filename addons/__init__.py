"""Parts of a cluster that run as ordinary pods and are applied as manifests (`deploy/addons`).

Lives here: one package per addon. May not live here: anything that needs more than a service account of its own.
"""
