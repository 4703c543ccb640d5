"""The types of volume, one module each: `steps(volume, facts, context)` gives the volume's steps."""
