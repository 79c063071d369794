"""The packed forms of small collections: listpack, ziplist, intset and zipmap."""
