"""A cache of what cannot change: `facts` decides what is known, `cached` has the backends."""
