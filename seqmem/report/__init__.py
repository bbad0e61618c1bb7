"""Reports: what training wrote, read back as plots and comparisons."""
