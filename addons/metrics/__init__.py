"""`metrics.k8s.io`: what pods and nodes use at this moment, for `kubectl top` and autoscaling.

Lives here: reading the kubelets' resource pages, and the aggregated API that shows them. May not live here: history;
this API only ever tells the last interval.
"""
