# docutils ships no types. These are the parts that the extension of Sphinx in docs/_ext uses.
