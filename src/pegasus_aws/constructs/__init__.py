"""Small building blocks over the generator."""
