"""What every namespace needs, is limited by, and is rid of when it goes."""
