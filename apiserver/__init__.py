"""The API server: the cluster's only door to etcd.

Lives here: authentication, authorization, admission, validation, storage, and the two faces (REST and gRPC) over one
generic pipeline. May not live here: anything that acts on the cluster by itself; that is a controller.
"""
