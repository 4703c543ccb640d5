"""The node page of the wizard."""
