"""The ingress controller: serves the cluster's Ingress objects over HTTP and HTTPS.

`classes` says which ingresses are ours, `routes` which backend a request means, `endpoints` where a backend's pods are,
`certificates` what a TLS client is shown, `state` keeps all of them up to date. `server` takes requests, `forward` and
`tunnel` pass them on. `status` tells the cluster by which address all this is reached, and what is wrong.

Requests go to pods straight from EndpointSlices, not through Services: a pod that refuses is left out at once and the
request tried at the next, which is what makes a rolling update lose none.
"""
