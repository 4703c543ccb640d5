"""The wizard's vocabulary: plain data and protocols. Standard library only, no side effects."""
