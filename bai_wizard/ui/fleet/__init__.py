"""Many nodes on one page: what they wrote with `--json` and `--report`, grouped by what is the same."""
