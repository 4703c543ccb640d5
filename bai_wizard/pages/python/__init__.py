"""The python page of the wizard."""
