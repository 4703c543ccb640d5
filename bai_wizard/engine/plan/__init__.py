"""From settings and facts to a plan over the predicted node."""
