"""Public corpora fetched: what a server lists, file by file, until a folder holds all of it."""
