"""The Node page, page 0: roles, network access and trusted certificates of this node."""
