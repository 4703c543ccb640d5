"""bai-wizard prepares a node for Backend.AI. docs/architecture.md describes how the code is organized."""

__version__ = "0.2.0"
