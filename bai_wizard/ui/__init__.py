"""What all front ends share: how plans and results read, the answers during editing, run progress."""
