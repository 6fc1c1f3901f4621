"""Controller manager and scheduler as processes, on a real apiserver and nodes that only pretend."""
