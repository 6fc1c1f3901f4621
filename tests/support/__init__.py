"""What several test suites share: servers to test against and builders of objects."""
