"""Bundles: all that a set of answers needs, in one directory, for nodes without a way out."""
