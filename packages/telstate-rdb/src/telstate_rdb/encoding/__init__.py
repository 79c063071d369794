"""From values to bytes, each layer usable by itself; knows nothing of files.

==============  =============================================================================
`strings`       lengths and strings
`lzf`           LZF compression
`packed`        ziplists, listpacks and intsets
`limits`        up to where collections are packed
`lists`         lists, `sorted_sets`, `hashes` and `streams` likewise: every form of each
`loadable`      what of a decoded value no server would load
`modules`       that what modules say ends where it should
`values`        any value: which form it gets in which version, by table
`records`       what stands around values, and many records of strings at once
`auxiliary`     what is in a file besides keys
==============  =============================================================================
"""
