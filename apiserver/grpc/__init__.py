"""The gRPC face: `proto/api.proto` over the same operations as REST, for the cluster's own components.

Lives here: translating messages and streams. May not live here: anything a REST client would get differently.
"""
