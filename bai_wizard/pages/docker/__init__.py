"""The docker page: the engine, its packages and configuration, and who may use it."""
