"""The answers file: read, located, validated, resolved, written."""
