"""`describe`: one module per kind (or family of kinds) that writes kubectl's layout; `generic` for the rest.

A describer gets an `Inspector`, which fetches what belongs to the object (events, pods, endpoints); it prints nothing.
"""
