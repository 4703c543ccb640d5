"""The answers file: read, locate, validate, resolve, write."""
