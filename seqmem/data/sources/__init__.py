"""Where text comes from: files of every kind, here or elsewhere, read piece by piece and never held whole."""
