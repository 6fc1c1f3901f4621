"""What makes a container a node: the program that runs in it instead of an init system.

What lives here: preparing the container (`prepare`: mounts, cgroups, addresses), a supervisor (`supervisor`), the order
in which a node's programs start and stop (`__main__`), and two small relays (`relay`) that give pods and the container
engine names which exist only on the host's side. What may not: anything about pods; that is the kubelet's.
"""
