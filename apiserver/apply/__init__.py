"""Who manages which field: managedFields of every writer, and server-side apply (KEP-555).

Lives here: sets of fields, comparing objects by their schema, merging what is applied. May not live here: reading or
storing objects; `apiserver.pipeline` calls in.
"""
