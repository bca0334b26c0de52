"""Uploads: files that clients put where the original files are, by themselves, and then hand in."""
