"""Pegasus on AWS: what is to be built, as code that can be checked, priced and drawn before anything is built."""
