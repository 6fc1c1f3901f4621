"""The REST face: the Kubernetes API over HTTPS.

Lives here: routes, media types, Tables, discovery, OpenAPI, health, and the streams that HTTP upgrades to. May not live
here: anything a gRPC client would get differently; that belongs to `apiserver.operations` and below.
"""
