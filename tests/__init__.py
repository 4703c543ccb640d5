"""The tests of bai-wizard; what several folders share stands at this level."""
