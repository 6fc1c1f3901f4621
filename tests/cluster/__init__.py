"""Tests on a running cluster: docker-compose.yml brought up by testcontainers, real kubectl, containers, packets."""
