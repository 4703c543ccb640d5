"""Scripts that run the tests or make data for them."""
