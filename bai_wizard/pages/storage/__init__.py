"""The storage page of the wizard."""
