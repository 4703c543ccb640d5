"""Container nodes: real systemd, real accounts, started in about a second."""
