"""The accelerators page: GPUs and NPUs, their drivers, and containers that see them."""
