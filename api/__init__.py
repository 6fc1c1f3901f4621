"""The object model of Kubernetes: what every other package speaks.

Here live the types (generated, `api.types`), the resource table, JSON encoding, selectors, quantities, patches and
the errors of the API. Nothing here does I/O, knows a component, or imports anything of the project but `proto`.
"""
