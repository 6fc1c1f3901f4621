"""Subresources: a file each, with its own rules for what a write through it may change.

Importing this package registers them all with `apiserver.operations`. Lives here: scale, binding, eviction and the
like, and the ones that lead to a kubelet. May not live here: `status`, which is generic.
"""
