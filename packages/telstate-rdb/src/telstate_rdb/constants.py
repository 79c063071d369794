"""The constants of the RDB format, with bit layouts: names for bytes, and tables of them.

They are plain integers, not enums, because they are compared in the innermost loops of the reader. "LE"
and "BE" mean little- and big-endian.

A file is::

    REDIS0011  or  VALKEY080      9 bytes: magic and version
    records                       an opcode or the type of a value, then its content
    0xFF                          OPCODE_END
    8 bytes LE                    CRC-64/REDIS of all bytes before it (version 5 and later; 0: none)
"""

from __future__ import annotations

from typing import Final, Literal

# ---------------------------------------------------------------------------------- the file

MAGIC_REDIS: Final = b"REDIS"  # and four ASCII digits
MAGIC_VALKEY: Final = b"VALKEY"  # and three ASCII digits
HEADER_SIZE: Final = 9
CHECKSUM_SIZE: Final = 8
MIN_VERSION: Final = 1
MAX_VERSION: Final = 12  # that is written; later ones are read as far as their types are known
VALKEY_VERSION: Final = 80  # Valkey 9; versions from here on are Valkey's own numbering
CHECKSUM_VERSION: Final = 5  # the first version that has a checksum at its end
EVERY_READER_VERSION: Final = 6  # accepted by every known reader

# The first release that writes, and so can certainly read, each version.
VERSION_RELEASES: Final[dict[int, str]] = {
    1: "Redis 1.0",
    2: "Redis 2.2",
    3: "Redis 2.4",
    4: "Redis 2.6 (release candidates)",
    5: "Redis 2.6 (release candidates)",
    6: "Redis 2.6",
    7: "Redis 3.2",
    8: "Redis 4.0",
    9: "Redis 5.0",
    10: "Redis 7.0",
    11: "Redis 7.2",
    12: "Redis 7.4",
    13: "Redis 8.6",
    14: "Redis 8.8",
    15: "Redis 8.10",
    VALKEY_VERSION: "Valkey 9.0",
}

# ------------------------------------------------------------------------------------ opcodes

OPCODE_ENTERPRISE_1: Final = 0x6B  # Redis Enterprise: a length that means nothing elsewhere
OPCODE_ENTERPRISE_2: Final = 0x79  # likewise
OPCODE_HASH_TEMPLATE: Final = 0xF2  # Redis: length id, length n, n strings: the fields of hashes
OPCODE_KEY_METADATA: Final = (
    0xF3  # Redis: length n, n of (4 bytes class, module values and end mark)
)
OPCODE_SLOT_IMPORT: Final = (
    0xF3  # Valkey: string job, length n, n of (length first, length last slot)
)
OPCODE_SLOT_INFO: Final = 0xF4  # length slot, length keys, length keys with an expiry
OPCODE_FUNCTION: Final = 0xF5  # string: the code of a library
OPCODE_FUNCTION_PRE_GA: Final = 0xF6  # name, engine, length has-description, [description], code
OPCODE_MODULE_AUX: Final = 0xF7  # length module id, 2, when, then module values up to the end mark
OPCODE_IDLE: Final = 0xF8  # length: seconds since the next key was last used
OPCODE_FREQUENCY: Final = 0xF9  # 1 byte: access frequency (LFU counter) of the next key
OPCODE_AUX: Final = 0xFA  # string name, string value
OPCODE_RESIZE: Final = 0xFB  # length keys, length keys with an expiry, in this database
OPCODE_EXPIRY_MS: Final = 0xFC  # 8 bytes LE: milliseconds since 1970, of the next key
OPCODE_EXPIRY_S: Final = 0xFD  # 4 bytes LE: seconds since 1970, of the next key
OPCODE_DATABASE: Final = 0xFE  # length: number of the database that follows
OPCODE_END: Final = 0xFF

# ------------------------------------------------------------------------------------ lengths
#
#   00LLLLLL                        6 bits
#   01LLLLLL LLLLLLLL               14 bits BE
#   10000000 [4 bytes BE]           32 bits
#   10000001 [8 bytes BE]           64 bits
#   11TTTTTT                        not a length: the string is in the special form T, see below

LENGTH_6BIT_MAX: Final = 0x3F
LENGTH_14BIT: Final = 0x40
LENGTH_14BIT_MAX: Final = 0x3FFF
LENGTH_32BIT: Final = 0x80
LENGTH_64BIT: Final = 0x81
LENGTH_SPECIAL: Final = 0xC0

# Strings in a special form: integers stand for their decimal text.
STRING_INT8: Final = 0xC0  # 1 byte, signed
STRING_INT16: Final = 0xC1  # 2 bytes LE, signed
STRING_INT32: Final = 0xC2  # 4 bytes LE, signed
STRING_LZF: Final = 0xC3  # length compressed, length full, data

# LZF data:
#   000LLLLL                        L + 1 literal bytes follow (1 to 32)
#   LLLooooo oooooooo               copy L + 2 bytes (L 1 to 6) from o + 1 bytes back
#   111ooooo LLLLLLLL oooooooo      copy L + 9 bytes
LZF_MAX_LITERAL: Final = 32
LZF_MAX_COPY: Final = 264  # of three compressed bytes: no data can grow by more than 88 times
LZF_MAX_DISTANCE: Final = 8192

# -------------------------------------------------------------------------------------- types

TYPE_STRING: Final = 0
TYPE_LIST: Final = 1  # length n, n strings
TYPE_SET: Final = 2  # length n, n strings
TYPE_ZSET: Final = 3  # length n, n of (string member, score as text)
TYPE_HASH: Final = 4  # length n, n of (string field, string value)
TYPE_ZSET_2: Final = 5  # length n, n of (string member, 8 bytes LE float64 score)
TYPE_MODULE: Final = 6  # module values without their kinds: cannot be skipped
TYPE_MODULE_2: Final = 7  # length module id, module values up to the end mark
TYPE_HASH_ZIPMAP: Final = 9
TYPE_LIST_ZIPLIST: Final = 10
TYPE_SET_INTSET: Final = 11
TYPE_ZSET_ZIPLIST: Final = 12
TYPE_HASH_ZIPLIST: Final = 13
TYPE_LIST_QUICKLIST: Final = 14  # length n, n strings, each a ziplist
TYPE_STREAM_LISTPACKS: Final = 15
TYPE_HASH_LISTPACK: Final = 16
TYPE_ZSET_LISTPACK: Final = 17
TYPE_LIST_QUICKLIST_2: Final = 18  # length n, n of (length container, string)
TYPE_STREAM_LISTPACKS_2: Final = 19
TYPE_SET_LISTPACK: Final = 20
TYPE_STREAM_LISTPACKS_3: Final = 21
TYPE_HASH_METADATA_PRE_GA: Final = 22  # in a file of Redis: release candidates of 7.4
TYPE_VALKEY_HASH_2: Final = 22  # in a file of Valkey (version 80): fields with expiries
TYPE_HASH_LISTPACK_EX_PRE_GA: Final = 23
TYPE_HASH_METADATA: Final = 24  # 8 bytes LE least expiry, length n, n of (length ttl, field, value)
TYPE_HASH_LISTPACK_EX: Final = 25  # 8 bytes LE least expiry, listpack of (field, value, expiry)
TYPE_STREAM_LISTPACKS_4: Final = 26  # with the messages of idempotent producers
TYPE_STREAM_LISTPACKS_5: Final = 27  # and with entries that were given back
TYPE_ARRAY: Final = 28  # length n, length has-cursor, [length cursor], n of (length index, element)
TYPE_HASH_TEMPLATE_LISTPACK: Final = 29  # fields, listpack of (template id, values)
TYPE_HASH_TEMPLATE_LISTPACK_REF: Final = 30  # listpack of (template id, values)
TYPE_HASH_TEMPLATE: Final = 31  # fields, a string for the value of each
TYPE_HASH_TEMPLATE_REF: Final = 32  # length template id, a string for the value of each field

# The fields of types 29 and 31: length form, then
FIELDS_LISTPACK: Final = 0  # a listpack
FIELDS_STRINGS: Final = 1  # length n, n strings

# An element of an array: length form, then
ARRAY_STRING: Final = 0  # string
ARRAY_INTEGER: Final = 1  # 8 bytes LE, signed
ARRAY_DOUBLE: Final = 2  # 8 bytes LE
ARRAY_SHORT_STRING: Final = 3  # string

# The content of a quicklist node of type 18.
QUICKLIST_PLAIN: Final = 1
QUICKLIST_PACKED: Final = 2

# Scores as text (type 3): a byte of length and that much ASCII, or one of
SCORE_NAN: Final = 253
SCORE_POSITIVE_INFINITY: Final = 254
SCORE_NEGATIVE_INFINITY: Final = 255

# The values of a module: length opcode, then
MODULE_END: Final = 0  # nothing: the value is complete
MODULE_SIGNED: Final = 1  # length
MODULE_UNSIGNED: Final = 2  # length
MODULE_FLOAT: Final = 3  # 4 bytes LE
MODULE_DOUBLE: Final = 4  # 8 bytes LE
MODULE_STRING: Final = 5  # string
# The 64 bits of a module's id: nine characters of 6 bits, then 10 bits of version.
MODULE_NAME_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
MODULE_NAME_LENGTH: Final = 9
MODULE_VERSION_BITS: Final = 10

TypeName = Literal["string", "list", "set", "zset", "hash", "stream", "module", "array"]
"""A kind of value, as the command ``TYPE`` of Redis names it."""

TYPE_NAMES: Final[dict[int, TypeName]] = {
    TYPE_STRING: "string",
    TYPE_LIST: "list",
    TYPE_SET: "set",
    TYPE_ZSET: "zset",
    TYPE_HASH: "hash",
    TYPE_ZSET_2: "zset",
    TYPE_MODULE: "module",
    TYPE_MODULE_2: "module",
    TYPE_HASH_ZIPMAP: "hash",
    TYPE_LIST_ZIPLIST: "list",
    TYPE_SET_INTSET: "set",
    TYPE_ZSET_ZIPLIST: "zset",
    TYPE_HASH_ZIPLIST: "hash",
    TYPE_LIST_QUICKLIST: "list",
    TYPE_STREAM_LISTPACKS: "stream",
    TYPE_HASH_LISTPACK: "hash",
    TYPE_ZSET_LISTPACK: "zset",
    TYPE_LIST_QUICKLIST_2: "list",
    TYPE_STREAM_LISTPACKS_2: "stream",
    TYPE_SET_LISTPACK: "set",
    TYPE_STREAM_LISTPACKS_3: "stream",
    TYPE_HASH_METADATA_PRE_GA: "hash",
    TYPE_HASH_LISTPACK_EX_PRE_GA: "hash",
    TYPE_HASH_METADATA: "hash",
    TYPE_HASH_LISTPACK_EX: "hash",
    TYPE_STREAM_LISTPACKS_4: "stream",
    TYPE_STREAM_LISTPACKS_5: "stream",
    TYPE_ARRAY: "array",
    TYPE_HASH_TEMPLATE_LISTPACK: "hash",
    TYPE_HASH_TEMPLATE_LISTPACK_REF: "hash",
    TYPE_HASH_TEMPLATE: "hash",
    TYPE_HASH_TEMPLATE_REF: "hash",
}
"""The kind of value of each known type byte."""

TYPE_VERSIONS: Final[dict[int, int]] = {
    TYPE_STRING: 1,
    TYPE_LIST: 1,
    TYPE_SET: 1,
    TYPE_ZSET: 1,
    TYPE_HASH: 2,
    TYPE_HASH_ZIPMAP: 2,
    TYPE_LIST_ZIPLIST: 2,
    TYPE_SET_INTSET: 2,
    TYPE_ZSET_ZIPLIST: 2,
    TYPE_HASH_ZIPLIST: 4,
    TYPE_LIST_QUICKLIST: 7,
    TYPE_ZSET_2: 8,
    TYPE_MODULE: 8,
    TYPE_MODULE_2: 8,
    TYPE_STREAM_LISTPACKS: 9,
    TYPE_HASH_LISTPACK: 10,
    TYPE_ZSET_LISTPACK: 10,
    TYPE_LIST_QUICKLIST_2: 10,
    TYPE_STREAM_LISTPACKS_2: 10,
    TYPE_SET_LISTPACK: 11,
    TYPE_STREAM_LISTPACKS_3: 11,
    TYPE_HASH_METADATA_PRE_GA: 12,
    TYPE_HASH_LISTPACK_EX_PRE_GA: 12,
    TYPE_HASH_METADATA: 12,
    TYPE_HASH_LISTPACK_EX: 12,
    TYPE_STREAM_LISTPACKS_4: 13,
    TYPE_STREAM_LISTPACKS_5: 14,
    TYPE_ARRAY: 14,
    TYPE_HASH_TEMPLATE_LISTPACK: 15,
    TYPE_HASH_TEMPLATE_LISTPACK_REF: 15,
    TYPE_HASH_TEMPLATE: 15,
    TYPE_HASH_TEMPLATE_REF: 15,
}
"""The version that introduced each type: servers of an older version refuse it."""

# ------------------------------------------------------------------------------- packed forms
#
# Ziplist:   u32 LE bytes, u32 LE offset of the last entry, u16 LE entries, entries, 0xFF
#   an entry: size of the entry before it: 1 byte, or 0xFE and u32 LE; then
#     00LLLLLL                      string of L bytes
#     01LLLLLL LLLLLLLL             string, 14 bits BE
#     10000000 [4 bytes BE]         string, 32 bits BE
#     11000000 [2 bytes LE]         int16        11010000 [4 bytes LE]  int32
#     11100000 [8 bytes LE]         int64        11110000 [3 bytes LE]  int24
#     11111110 [1 byte]             int8         1111VVVV               V - 1, V 1 to 13

ZIPLIST_HEADER_SIZE: Final = 10
ZIPLIST_END: Final = 0xFF
ZIPLIST_BIG_PREVIOUS: Final = 0xFE
ZIPLIST_STRING_14BIT: Final = 0x40
ZIPLIST_STRING_32BIT: Final = 0x80
ZIPLIST_INT16: Final = 0xC0
ZIPLIST_INT32: Final = 0xD0
ZIPLIST_INT64: Final = 0xE0
ZIPLIST_INT24: Final = 0xF0
ZIPLIST_SMALL_FIRST: Final = 0xF1  # 0
ZIPLIST_SMALL_LAST: Final = 0xFD  # 12
ZIPLIST_INT8: Final = 0xFE
ZIPLIST_COUNT_UNKNOWN: Final = 0xFFFF

# Listpack:  u32 LE bytes, u16 LE entries (65535: not known), entries, 0xFF
#   an entry:
#     0VVVVVVV                      unsigned, 7 bits
#     10LLLLLL                      string of L bytes
#     110VVVVV VVVVVVVV             signed, 13 bits BE
#     1110LLLL LLLLLLLL             string, 12 bits BE
#     11110000 [4 bytes LE]         string, 32 bits LE
#     11110001 [2 bytes LE]         int16        11110010 [3 bytes LE]  int24
#     11110011 [4 bytes LE]         int32        11110100 [8 bytes LE]  int64
#   then the size of all that, 7 bits a byte, most significant first, high bit on all but the first

LISTPACK_HEADER_SIZE: Final = 6
LISTPACK_END: Final = 0xFF
LISTPACK_STRING_6BIT: Final = 0x80
LISTPACK_INT13: Final = 0xC0
LISTPACK_STRING_12BIT: Final = 0xE0
LISTPACK_STRING_32BIT: Final = 0xF0
LISTPACK_INT16: Final = 0xF1
LISTPACK_INT24: Final = 0xF2
LISTPACK_INT32: Final = 0xF3
LISTPACK_INT64: Final = 0xF4
LISTPACK_COUNT_UNKNOWN: Final = 0xFFFF

# Intset:    u32 LE width (2, 4 or 8), u32 LE count, integers LE, signed, ascending

INTSET_HEADER_SIZE: Final = 8
INTSET_WIDTHS: Final[dict[int, str]] = {2: "h", 4: "i", 8: "q"}  # width: code for struct and array

# Zipmap:    1 byte of count, then pairs; 0xFF
#   a pair: length of field, field, length of value, 1 byte of padding, value, padding
#   a length: 1 byte below 254, or 254 and u32 LE

ZIPMAP_END: Final = 0xFF
ZIPMAP_BIG_LENGTH: Final = 0xFE
ZIPMAP_COUNT_UNKNOWN: Final = 0xFE

# Stream:    an entry of a node's listpack has flags
STREAM_ENTRY_DELETED: Final = 1
STREAM_ENTRY_SAME_FIELDS: Final = 2
STREAM_ENTRIES_READ_UNKNOWN: Final = 2**64 - 1  # -1 as it is written

# ------------------------------------------------------------------------------- DUMP payload
#
#   type byte, value as in a file, u16 LE RDB version, 8 bytes LE CRC-64 of all before it

DUMP_FOOTER_SIZE: Final = 10
