"""MessagePack with the extension types of telescope states: encoder and decoder."""
