"""The docker page by itself."""
