"""The Tuning page: kernel parameters and limits, except where the node's own values are already better."""
