"""HorizontalPodAutoscalers: from metrics to a number of replicas, and how fast it may change."""
