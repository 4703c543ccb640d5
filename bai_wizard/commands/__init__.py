"""One module per sub-command: `run(arguments) -> ExitCode`. Thin: they connect the engine and a front end."""
