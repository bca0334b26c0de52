"""Builds the container images and shows that they work together: with your Docker, or with an engine of Debian's."""
