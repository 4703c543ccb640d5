"""The Images page: the container images that a compute node starts with."""
