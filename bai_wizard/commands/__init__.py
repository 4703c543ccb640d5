"""One module a sub-command: `run(arguments) -> ExitCode`. Thin: they join the engine and a front end."""
