"""How each sort of state is read from a real node."""
