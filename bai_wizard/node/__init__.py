"""The only interface to the node: reads, read-only commands, and the execution of operations."""
