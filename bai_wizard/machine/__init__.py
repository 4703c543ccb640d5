"""The only door to the node: reads, commands that only look, and the primitives carried out."""
