"""Many strings at once: reading, skipping and writing them at the speed of C."""
