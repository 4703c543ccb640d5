"""Starting the executor apart from the terminal, and as root."""
