"""The generic pipeline: what a request goes through between decoding and encoding, the same for every resource.

    decode -> default -> mutate (admission) -> prepare -> validate -> admit -> store

Lives here: reading, watching and the four kinds of writes, in terms of an `Endpoint` and a `Context`. May not live
here: anything about one resource (that is its strategy, or a subresource), HTTP or gRPC.
"""
