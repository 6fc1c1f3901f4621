"""Clusters whose nodes only pretend: all above the kubelet is real, so that it can be measured and tested at size.

`nodes` has kubelets that only report, many in one process; `cluster` starts the processes; `python -m bench.hollow`
prints the table.
"""
