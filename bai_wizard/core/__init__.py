"""The vocabulary of the wizard: plain data and protocols, standard library only, no effects."""
