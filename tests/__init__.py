"""The tests of bai-wizard. Helpers shared by several folders are at this level."""
