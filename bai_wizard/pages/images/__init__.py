"""The images page of the wizard."""
