"""The storage page: volumes for the users' data under /vfroot."""
