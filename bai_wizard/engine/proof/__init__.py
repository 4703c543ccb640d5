"""The proof that a node needs nothing: what the last plan without changes had read, to be read again.

A plan follows from the answers and from what was read of the node. Where both are what they were when the plan came
out empty, it would come out empty again, and nobody has to make it.
"""
