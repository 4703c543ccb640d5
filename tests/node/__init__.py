"""Container nodes with real systemd and real accounts; they start in about a second."""
