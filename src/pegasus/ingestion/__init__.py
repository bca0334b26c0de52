"""From a stored file to something that can be found: extract, chunk, embed, link, index."""
