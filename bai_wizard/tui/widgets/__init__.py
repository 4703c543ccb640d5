"""Widgets that say in words and glyphs what others say in colour."""
