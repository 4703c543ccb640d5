"""The account page: the user and group that operate Backend.AI, with exact ids."""
