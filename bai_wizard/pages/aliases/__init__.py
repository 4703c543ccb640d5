"""The aliases page of the wizard."""
