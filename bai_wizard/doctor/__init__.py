"""Guided troubleshooting: runs the pages' checks, says what is wrong and why, offers the safe way out."""
