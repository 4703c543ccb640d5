"""NVIDIA: driver, fabric manager, CUDA's runtime library, container toolkit."""
