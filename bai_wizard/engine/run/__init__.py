"""Carrying a plan out: journalled before each change, survivable at every instant."""
