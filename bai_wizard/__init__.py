"""bai-wizard prepares a node for Backend.AI. The shape of the code is told in README.md, «Finding your way»."""

__version__ = "0.1.0"
