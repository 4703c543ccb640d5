"""The accelerators page of the wizard."""
