"""The full-screen interface. The only part that imports Textual."""
