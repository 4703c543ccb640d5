"""The python page."""
