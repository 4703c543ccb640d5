"""What each vendor's accelerators need beyond what the data file says of all of them."""
