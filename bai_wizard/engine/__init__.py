"""Plan, run, resume and undo. Knows neither pages nor screens: both are passed in as arguments."""
