"""The tuning page: kernel parameters and limits, where the node's own are not better already."""
