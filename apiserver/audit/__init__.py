"""The audit log: who did what, when, and what came of it, as lines of `audit.k8s.io/v1` Events.

`policy` decides how much of a request is recorded, `record` collects one request's events, `log` keeps the file.
Lives here: what an audit event says and where it goes. May not live here: anything that decides about a request.
Source: the "Auditing" page of the Kubernetes documentation and the reference of `audit.k8s.io/v1`.
"""
