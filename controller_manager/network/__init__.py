"""Which pods are behind which Service: Endpoints, EndpointSlices, and addresses for LoadBalancers."""
