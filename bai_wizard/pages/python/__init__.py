"""The Python page: the interpreter for the chosen release, and a virtual environment for each service."""
