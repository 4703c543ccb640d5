"""The Account page: the user and group that run Backend.AI, with exact UID and GID."""
