"""What runs pods: ReplicaSets, Deployments, StatefulSets, DaemonSets, Jobs, CronJobs, and what guards them."""
