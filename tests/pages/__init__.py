"""Each page by itself."""
