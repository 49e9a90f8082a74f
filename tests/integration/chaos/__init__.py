"""The chaos harness's own parts against real servers: what judges the product must not be wrong itself."""
