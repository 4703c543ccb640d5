"""A full virtual machine: its own kernel, reboots and power cuts."""
