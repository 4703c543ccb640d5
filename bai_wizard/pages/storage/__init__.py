"""The storage page: volumes for user data under /vfroot."""
