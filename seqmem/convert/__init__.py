"""Models of Hugging Face's, taken over and given back: one file an architecture, one for each direction."""
