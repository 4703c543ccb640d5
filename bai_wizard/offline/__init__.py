"""Bundles: everything that a set of answers needs, in one directory, for air-gapped nodes."""
