"""The node page, page 0: what this node is, how it reaches the outside and whom it trusts."""
