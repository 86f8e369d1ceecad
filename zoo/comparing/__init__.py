"""Fair comparison: the same data, networks and budget, several seeds, and how sure the difference is."""
