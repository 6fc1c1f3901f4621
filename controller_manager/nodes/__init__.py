"""What happens to nodes and because of nodes: addresses, health, taints, evictions, pods that outlive them."""
