"""pykubectl: the command line client.

What lives here: everything a person types at a terminal, built on the Kubernetes REST API alone, so that it works
against any cluster. Objects are plain JSON dictionaries: the client must be able to show kinds it has never heard of.

What may not: imports of the components or of the gRPC client, and the generated types (they cost start-up time; only
the merge metadata is used, by `apply`, and loaded when needed).
"""
