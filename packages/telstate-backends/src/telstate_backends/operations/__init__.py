"""Operations: everything that a store can be asked to do, as data; exported from the package above."""
