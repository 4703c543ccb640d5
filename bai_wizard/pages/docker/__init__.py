"""The docker page of the wizard."""
