"""The Aliases page: names of the other nodes in /etc/hosts."""
