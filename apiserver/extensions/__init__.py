"""CustomResourceDefinitions: kinds that the API learns while it runs.

Lives here: structural schemas and what they do to objects (pruning, defaults, validation), CEL rules, versions and
their conversion, the strategy of custom resources, and the controllers that establish definitions, serve their kinds
and clean up after them. May not live here: anything the pipeline has to know: to it, a custom resource is a resource.
"""
