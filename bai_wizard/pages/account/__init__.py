"""The account page of the wizard."""
