"""The tuning page of the wizard."""
