"""The views of single pages that are more than a generated form."""
