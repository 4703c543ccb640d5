"""The images page by itself."""
