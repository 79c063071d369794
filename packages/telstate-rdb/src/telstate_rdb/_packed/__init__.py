"""The packed forms of small collections: one file each, decoding and encoding side by side."""
