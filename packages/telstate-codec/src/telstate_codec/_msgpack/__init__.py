"""The MessagePack part of the storage format."""
