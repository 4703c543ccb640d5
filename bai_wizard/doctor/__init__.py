"""Guided troubleshooting: run the pages' checks, report problems with their causes, and offer safe fixes."""
