"""The Accelerators page: GPUs and NPUs, their drivers, and container support."""
