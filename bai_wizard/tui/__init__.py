"""The full screen. The only part that imports Textual."""
