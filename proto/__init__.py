"""The gRPC face: protocol definitions and the stubs generated from them (`make generate`).

Lives here: `api.proto` (what components speak to the apiserver), `node.proto` (what the apiserver speaks to a
kubelet) and their generated modules. May not live here: anything written by hand besides the `.proto` files.
"""
