"""The Docker page: the engine, its packages and configuration, and the users allowed to use it."""
